/** Model output as people should read it: the code that renders it is fetched with the first message. */
import { lazy, Suspense } from "react";
import { LongText } from "./LongText.tsx";

const MarkdownView = lazy(() => import("./MarkdownView.tsx"));
/** Above this a text is shown as it is: nobody reads it rendered, and rendering it would take seconds. */
const MOST = 200_000;

export function Markdown({ text }: { text: string }) {
  if (text.length > MOST) return <LongText text={text} className="body" />;
  return (
    <Suspense fallback={<div className="markdown lines wire">{text}</div>}>
      <MarkdownView text={text} />
    </Suspense>
  );
}
