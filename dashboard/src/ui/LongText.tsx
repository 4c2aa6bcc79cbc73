import { useState } from "react";
import { count } from "../lib/format.ts";
import { Button } from "./Button.tsx";

const AT_ONCE = 100_000;

/** Text from the wire as it is: the first of it at once, more when somebody asks, so that no page stalls on 10 MB. */
export function LongText({ text, className = "" }: { text: string; className?: string }) {
  const [shown, setShown] = useState(AT_ONCE);
  const rest = text.length - shown;
  return (
    <>
      <pre className={`long-text ${className}`} tabIndex={0}>{text.slice(0, shown)}</pre>
      {rest > 0 && (
        <p className="caption">
          {count(shown)} of {count(text.length)} characters. <Button size="small" onClick={() => setShown(shown + 4 * AT_ONCE)}>Show more</Button>
        </p>
      )}
    </>
  );
}
