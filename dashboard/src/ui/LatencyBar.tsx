import { duration } from "../lib/format.ts";
import { vars } from "../lib/vars.ts";

/** How long a request took, with the wait for the first token drawn inside. `most` is the length of a full bar. */
export function LatencyBar({ ms, firstTokenMs, most, isBad, isSlow, hasNumber = true }: { ms: number | null; firstTokenMs?: number | null; most: number; isBad?: boolean; isSlow?: boolean; hasNumber?: boolean }) {
  const length = ms === null ? 0 : Math.min(1, ms / Math.max(1, most));
  const first = ms && firstTokenMs ? Math.min(1, firstTokenMs / ms) : 0;
  const said = `${duration(ms)}${firstTokenMs ? `, first token after ${duration(firstTokenMs)}` : ""}`;
  return (
    <span className={`lat${isBad ? " bad" : ""}`} title={said}>
      <span className="lat-room" aria-hidden="true">
        <i style={vars({ length: `${length * 100}%`, first: `${first * 100}%` })}>{first > 0 && <u />}</i>
      </span>
      {hasNumber && <span className={isSlow ? "warn" : ""}>{duration(ms)}</span>}
    </span>
  );
}
