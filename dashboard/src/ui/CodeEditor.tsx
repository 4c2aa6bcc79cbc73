import { lazy, Suspense } from "react";

export interface CodeEditorProps {
  label: string;
  value: string;
  onChange?(value: string): void;
  /** JSON is coloured and its errors are marked. */
  language?: "json" | "text";
  isReadOnly?: boolean;
  minHeight?: number;
}

const CodeEditorView = lazy(() => import("./CodeEditorView.tsx"));

/** A text to be edited; its code is fetched when it is shown. */
export function CodeEditor(props: CodeEditorProps) {
  return (
    <Suspense fallback={<pre className="code lines" aria-label={props.label}>{props.value}</pre>}>
      <CodeEditorView {...props} />
    </Suspense>
  );
}
