import { diffLines, diffWordsWithSpace, type Change } from "diff";
import { useMemo } from "react";
import type { DiffProps } from "./Diff.tsx";
import "./diff.css";

const WORDS_UP_TO = 40_000;
const PATIENCE_MS = 400;
/** Of an unchanged stretch, so much is shown at both its ends. */
const AROUND = 240;

export default function DiffView({ label, before, after }: DiffProps) {
  const changes = useMemo(() => compare(before, after), [before, after]);
  if (before === after) return <p className="caption">No difference.</p>;
  if (!changes) return <p className="caption">The two texts are too long and too different to be compared here.</p>;
  return (
    <div className="diff lines wire" role="group" aria-label={label}>
      {changes.map((change, at) => {
        if (change.added) return <ins key={at}><span className="sr">added: </span>{change.value}</ins>;
        if (change.removed) return <del key={at}><span className="sr">removed: </span>{change.value}</del>;
        return <span key={at}>{folded(change.value, at === 0, at === changes.length - 1)}</span>;
      })}
    </div>
  );
}

function compare(before: string, after: string): Change[] | undefined {
  const options = { timeout: PATIENCE_MS };
  if (before.length + after.length <= WORDS_UP_TO) {
    const words = diffWordsWithSpace(before, after, options);
    if (words) return words;
  }
  return diffLines(before, after, options);
}

function folded(text: string, isFirst: boolean, isLast: boolean): string {
  if (text.length <= 2 * AROUND + 80) return text;
  const head = isFirst ? "" : text.slice(0, AROUND);
  const tail = isLast ? "" : text.slice(-AROUND);
  return `${head} … ${text.length - head.length - tail.length} unchanged characters … ${tail}`;
}
