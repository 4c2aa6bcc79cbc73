/** Model output as people should read it: the code that renders it is fetched with the first message. */
import { lazy, Suspense } from "react";
import { canBeRendered } from "../lib/prose.ts";
import { LongText } from "./LongText.tsx";

const MarkdownView = lazy(() => import("./MarkdownView.tsx"));

export function Markdown({ text }: { text: string }) {
  if (!canBeRendered(text)) return <LongText text={text} className="body" />;
  return (
    <Suspense fallback={<div className="markdown lines wire">{text}</div>}>
      <MarkdownView text={text} />
    </Suspense>
  );
}
