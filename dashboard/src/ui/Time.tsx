import { useEffect, useState } from "react";
import { serverNow } from "../lib/boot.ts";
import { instant, moneyNano, NO_PRICE, relative } from "../lib/format.ts";
import { useZone } from "../lib/zone.ts";
import { Link } from "wouter";

/** The time now, renewed every so often while somebody looks. */
export function useNow(everyMs = 10_000): number {
  const [now, setNow] = useState(serverNow);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setNow(serverNow()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** An instant; how long ago on hover, or beside it. */
export function Time({ ms, precision = "s", isRelative, withRelative }: { ms: number; precision?: "ms" | "s" | "min"; isRelative?: boolean; withRelative?: boolean }) {
  const zone = useZone();
  const now = useNow(isRelative || withRelative ? 10_000 : 60_000);
  const exact = instant(ms, zone, precision, now);
  // What happened since the time was looked at last happened just now, not in a few seconds.
  const ago = relative(ms > now && ms - now < 15_000 ? now : ms, now);
  return (
    <time dateTime={new Date(ms).toISOString()} title={isRelative ? exact : ago} className="num nowrap">
      {isRelative ? ago : exact}
      {withRelative && <small className="muted">, {ago}</small>}
    </time>
  );
}

/** Money from nano-dollars; without a price, the way to give one. */
export function Money({ nano }: { nano: number | null | undefined }) {
  if (nano === null || nano === undefined) return <Link href="/settings/prices" className="muted">{NO_PRICE}</Link>;
  return <span className="num">{moneyNano(nano)}</span>;
}
