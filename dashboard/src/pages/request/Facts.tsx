/** The strip of facts at the top; of a failure, what went wrong and what to do about it. */
import { Link } from "wouter";
import { serverNow } from "../../lib/boot.ts";
import { count, date, duration, percent, rate, relative } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { fromOf } from "../../lib/time.ts";
import { useZone } from "../../lib/zone.ts";
import { Facts } from "../../ui/Card.tsx";
import { StatusPill } from "../../ui/Status.tsx";
import { Money, Time, useNow } from "../../ui/Time.tsx";
import type { Advice, Detail } from "./api.ts";
import { Prose } from "./Prose.tsx";
import { refusingBudget, RETRY, spoken } from "./words.ts";

/** How fast the answer came, in tokens a second. */
export function speedOf(detail: Pick<Detail, "output_tokens" | "duration_ms" | "ttft_ms" | "streaming">): number | null {
  if (!detail.output_tokens || !detail.duration_ms) return null;
  const ms = detail.streaming && detail.ttft_ms !== null ? detail.duration_ms - detail.ttft_ms : detail.duration_ms;
  // Of an answer that came at once a speed says nothing.
  return ms >= 1 && detail.output_tokens > 1 ? detail.output_tokens / (ms / 1000) : null;
}

export function RequestFacts({ detail }: { detail: Detail }) {
  const zone = useZone();
  const now = useNow();
  const tokens = [
    detail.cached_input_tokens ? `${count(detail.cached_input_tokens)} cached` : "",
    detail.reasoning_tokens ? `${count(detail.reasoning_tokens)} thinking` : "",
  ].filter(Boolean);
  const hasTokens = detail.input_tokens !== null || detail.output_tokens !== null;
  return (
    <Facts
      facts={[
        ["Started", <Time key="t" ms={detail.started_at} precision="ms" />, `${date(detail.started_at, zone, now)}, ${relative(detail.started_at, now)}`],
        ["Latency", duration(detail.duration_ms), detail.rank ? <span title={`At least as long as ${percent(detail.rank.percentile / 100, 1)} of ${count(detail.rank.requests)} requests of this model in the 7 days before`}>{`P${Math.max(1, Math.min(99, Math.round(detail.rank.percentile)))} for this model`}</span> : undefined],
        ["First token", duration(detail.ttft_ms), detail.timing.first_visible_ms !== null && detail.ttft_ms !== null && detail.timing.first_visible_ms - detail.ttft_ms > 50 ? `first word ${duration(detail.timing.first_visible_ms)}` : undefined],
        ["Speed", rate(speedOf(detail))],
        ["Tokens", hasTokens ? `${count(detail.input_tokens)} → ${count(detail.output_tokens)}` : "–", tokens.join(", ") || undefined],
        ["Cost", <Money key="m" nano={detail.cost_nano_usd} />],
        ["Finish", <span key="f" className="wire">{detail.finish_reason ?? (detail.outcome === "completed" ? "–" : spoken(detail.outcome))}</span>],
      ]}
    />
  );
}

const BY: Record<Advice["by"], string> = { client: "the client", provider: "the provider", glassline: "Glassline", network: "the way to the provider" };

export function ErrorBox({ detail, advice }: { detail: Detail; advice: Advice }) {
  const attempts = detail.attempts.filter((each) => each.id !== detail.id);
  const later = attempts.find((each) => each.attempt > detail.attempt);
  const budget = advice.code === "budget_exceeded" ? refusingBudget(advice.message) : null;
  return (
    <section className="problem-box rq-error" aria-label="What went wrong">
      <h2>{advice.title}</h2>
      {advice.message && <p className="wire message">{advice.message}</p>}
      <p><Prose>{advice.what_to_do}</Prose></p>
      <ul className="about">
        {advice.code && <li><span className="mono wire">{advice.code}</span></li>}
        <li>{detail.status === null ? "no answer" : `HTTP ${detail.status}`}</li>
        {detail.outcome !== "completed" && <li>{spoken(detail.outcome)}</li>}
        <li>by {BY[advice.by]}</li>
        <li><b>{RETRY[advice.retry]}</b></li>
        {later && <li>tried again: <Link className="link" href={pageOf.request(later.id)}>{`attempt ${later.attempt}, ${later.status ?? spoken(later.outcome)}`}</Link></li>}
        {!later && detail.retry_of && <li>after <Link className="link" href={pageOf.request(detail.retry_of)}>the first attempt</Link></li>}
        {budget && <li><Link className="link" href={`${pageOf.budget(budget)}?request=${detail.id}`}>The budget, and why it refused</Link></li>}
        <li><Link className="link" href={pageOf.requests(advice.filter, { from: fromOf(detail.started_at, serverNow()) })}>All that failed like this</Link></li>
      </ul>
    </section>
  );
}

/** The state of a request in a pill. */
export function StatusOf({ detail }: { detail: Pick<Detail, "status" | "outcome" | "advice"> }) {
  if (detail.advice) {
    const word = detail.outcome === "completed" || detail.status === null ? "" : `, ${spoken(detail.outcome).toLowerCase()}`;
    return <StatusPill level={detail.outcome === "client_closed" ? "warn" : "bad"}>{`${detail.status ?? spoken(detail.outcome)}${word}`}</StatusPill>;
  }
  return <StatusPill level="ok">{detail.status ?? spoken(detail.outcome)}</StatusPill>;
}
