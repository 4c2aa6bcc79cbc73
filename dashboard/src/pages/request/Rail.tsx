/** Beside a request: where its time went, what it cost and why, what it belongs to. */
import { Link } from "wouter";
import { serverNow } from "../../lib/boot.ts";
import { bytes, count, duration, money, moneyNano, percent } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { fromOf } from "../../lib/time.ts";
import { vars } from "../../lib/vars.ts";
import { Card, Pairs } from "../../ui/Card.tsx";
import { Chip } from "../../ui/Chip.tsx";
import { Money, Time } from "../../ui/Time.tsx";
import { quoted } from "../requests/filter.ts";
import type { Detail, Neighbour, ReceiptLine, StepName } from "./api.ts";
import { FeedbackCard } from "./Feedback.tsx";
import { BUCKETS, fine, SOURCES, spoken, STEPS } from "./words.ts";

export function Rail({ detail }: { detail: Detail }) {
  return (
    <div className="rq-rail">
      <TimingCard detail={detail} />
      <CostCard detail={detail} />
      <FeedbackCard detail={detail} />
      {detail.attempts.length > 0 && <Others title="Attempts" rows={detail.attempts} current={detail.id} name={(each) => `Attempt ${each.attempt}, ${each.status ?? spoken(each.outcome)}`} />}
      {detail.trace.length > 0 && detail.trace_id && (
        <Others title="Trace" rows={detail.trace} current={detail.id} name={(each) => each.model ?? each.endpoint} end={<Link className="link" href={pageOf.requests(`trace:${quoted(detail.trace_id)}`, { from: fromOf(Math.min(...detail.trace.map((each) => each.started_at)), serverNow()) })}>{`${detail.trace.length} requests`}</Link>} />
      )}
      <Context detail={detail} />
    </div>
  );
}

interface Bar {
  name: string;
  start: number;
  end: number;
  shown: string;
  kind: "tick" | "wait" | "stream" | "other" | "own";
}

const KINDS: Record<StepName, Bar["kind"]> = { receive: "tick", admit: "tick", connect: "tick", wait: "wait", stream: "stream" };

function TimingCard({ detail }: { detail: Detail }) {
  const { timing } = detail;
  const waits = detail.streaming ? STEPS.wait : "Wait for answer";
  const bars = timing.steps.map((step): Bar => ({
    name: step.name === "wait" ? waits : step.name === "stream" && !detail.streaming ? "Receive answer" : STEPS[step.name],
    start: step.start_ms,
    end: step.end_ms,
    shown: fine(step.end_ms - step.start_ms),
    kind: KINDS[step.name],
  }));
  if (timing.is_reused) {
    const at = bars.findIndex((bar) => bar.kind === "wait");
    const start = bars[at]?.start ?? 0;
    bars.splice(at < 0 ? bars.length : at, 0, { name: STEPS.connect, start, end: start, shown: "reused", kind: "tick" });
  }
  return (
    <Card title="Timing" end={timing.overhead_ms === null ? undefined : `proxy added ${fine(timing.overhead_ms)}`}>
      {bars.length ? <Bars bars={bars} total={timing.duration_ms ?? Math.max(...bars.map((bar) => bar.end))} /> : <p className="muted">Nobody timed it.</p>}
      {timing.duration_ms === null && <p className="caption">Nobody saw its end.</p>}
    </Card>
  );
}

function Bars({ bars, total }: { bars: readonly Bar[]; total: number }) {
  const share = (ms: number) => `${(Math.max(0, Math.min(1, ms / Math.max(total, 0.001))) * 100).toFixed(2)}%`;
  return (
    <ul className="rq-bars num">
      {bars.map((bar, at) => (
        <li key={`${bar.name}${at}`}>
          <span className="ellipsis">{bar.name}</span>
          <span className="room" aria-hidden="true">
            <i className={bar.kind} style={vars({ from: share(bar.start), size: share(bar.end - bar.start) })} />
          </span>
          <span className="value">{bar.shown}</span>
        </li>
      ))}
    </ul>
  );
}

const PER: Record<number, string> = { 1_000_000: "M", 1000: "K", 1: "each" };

function price(line: ReceiptLine): string {
  if (line.price_usd === null) return "";
  const per = PER[line.per] ?? count(line.per);
  return per === "each" ? `${money(line.price_usd)} each` : `${money(line.price_usd)} / ${per}`;
}

function CostCard({ detail }: { detail: Detail }) {
  const { receipt } = detail;
  const since = receipt.price_date ? `prices of ${receipt.price_date}` : SOURCES[receipt.source];
  const total = receipt.lines.reduce((sum, line) => sum + (line.per === 1_000_000 ? (line.count ?? 0) : 0), 0);
  return (
    <Card title="Cost" end={since}>
      {receipt.lines.length > 0 && (
        <table className="rq-cost num">
          <caption className="sr">Tokens, price and amount of each kind</caption>
          <tbody>
            {receipt.lines.map((line) => (
              <tr key={line.bucket}>
                <th scope="row">{BUCKETS[line.bucket] ?? spoken(line.bucket)}</th>
                <td className="r">{count(line.count)}</td>
                <td className="r muted">{price(line)}</td>
                <td className="r">{line.nano_usd === null ? <span className="muted">–</span> : moneyNano(line.nano_usd)}</td>
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">Total</th>
              <td className="r">{total ? count(total) : ""}</td>
              <td />
              <td className="r"><Money nano={receipt.nano_usd} /></td>
            </tr>
          </tfoot>
        </table>
      )}
      {receipt.lines.length === 0 && (
        <p>{receipt.nano_usd === null ? <Money nano={null} /> : moneyNano(receipt.nano_usd)}</p>
      )}
      {receipt.saved_nano_usd !== null && (
        <p className="caption">
          Caching saved {moneyNano(receipt.saved_nano_usd)}
          {receipt.nano_usd !== null && `, ${percent(receipt.saved_nano_usd / (receipt.saved_nano_usd + receipt.nano_usd), 1)} of this request`}.
        </p>
      )}
      {receipt.is_pending && <p className="caption">The provider goes on and bills later.</p>}
      {receipt.nano_usd === null && !receipt.is_pending && receipt.reason && (
        <p className="caption wire">
          No price: {receipt.reason}. <Link className="link" href="/settings/prices">Set a price</Link>
        </p>
      )}
      {receipt.nano_usd !== null && (receipt.model || receipt.version) && (
        <p className="caption wire">{[receipt.model && `as ${receipt.model}`, receipt.source !== "provider" && receipt.version].filter(Boolean).join(", ")}</p>
      )}
      {detail.usage_source === "estimated" && <p className="caption">The provider reported no usage: tokens are estimated.</p>}
    </Card>
  );
}

function Others({ title, rows, current, name, end }: { title: string; rows: readonly Neighbour[]; current: string; name(row: Neighbour): string; end?: React.ReactNode }) {
  const start = Math.min(...rows.map((row) => row.started_at));
  const total = Math.max(1, ...rows.map((row) => row.started_at + (row.duration_ms ?? 0) - start));
  const share = (ms: number) => `${((ms / total) * 100).toFixed(2)}%`;
  return (
    <Card title={title} end={end}>
      <ul className="rq-bars num">
        {rows.map((row) => (
          <li key={row.id} aria-current={row.id === current ? "true" : undefined}>
            <Link className="ellipsis wire" href={pageOf.request(row.id)}>{row.id === current ? "this request" : name(row)}</Link>
            <span className="room" aria-hidden="true">
              <i className={row.outcome !== "completed" || (row.status ?? 0) >= 400 ? "wrong" : row.id === current ? "own" : "other"} style={vars({ from: share(row.started_at - start), size: share(row.duration_ms ?? 0) })} />
            </span>
            <span className="value">{duration(row.duration_ms)}</span>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function Context({ detail }: { detail: Detail }) {
  const { turn } = detail;
  const since = { from: fromOf(detail.started_at, serverNow()) };
  const replayOf = detail.tags?.replay_of;
  const pairs: [string, React.ReactNode][] = [];
  const add = (name: string, value: React.ReactNode, is: unknown) => {
    if (is !== null && is !== undefined && is !== "") pairs.push([name, value]);
  };
  add("User", <Link className="link wire" href={pageOf.user(detail.user ?? "")}>{detail.user}</Link>, detail.user);
  add("Session", <><Link className="link wire" href={pageOf.session(detail.session ?? "")}>{detail.session}</Link>{turn && ` turn ${count(turn.turn)} of ${count(turn.turns)}`}</>, detail.session);
  add("Key", <Link className="link wire" href={pageOf.key(detail.key ?? "")}>{detail.key}</Link>, detail.key);
  add("Environment", <span className="wire">{detail.environment}</span>, detail.environment);
  const tags = Object.entries(detail.tags ?? {});
  add("Tags", <span className="rq-tags">{tags.map(([name, value]) => <Link key={name} href={pageOf.requests(`meta.${name}:${quoted(value)}`, since)}><Chip isPlain>{`${name}:${value}`}</Chip></Link>)}</span>, tags.length || null);
  add("Prompt", <Link className="link wire" href={pageOf.requests(`prompt:${quoted(detail.prompt_name ?? "")}`, since)}>{`${detail.prompt_name}${detail.prompt_version ? `, version ${detail.prompt_version}` : ""}`}</Link>, detail.prompt_name);
  add("Replay of", <Link className="link wire" href={pageOf.request(replayOf ?? "")}>{replayOf}</Link>, replayOf);
  add("Attempt", count(detail.attempt), detail.attempt > 1 ? detail.attempt : null);
  add("Upstream", <span className="wire">{detail.upstream}{detail.provider && detail.provider !== detail.upstream ? ` (${detail.provider})` : ""}</span>, detail.upstream);
  add("Asked for", <span className="wire">{detail.model_requested}</span>, detail.model_requested !== detail.model ? detail.model_requested : null);
  add("Tier", <span className="wire">{detail.service_tier}</span>, detail.service_tier && detail.service_tier !== "default" ? detail.service_tier : null);
  add("Endpoint", <span className="mono wire">{`${detail.method} ${detail.path}`}</span>, detail.path);
  add("Provider id", <span className="mono wire">{detail.response_id}</span>, detail.response_id);
  add("Sizes", `${bytes(detail.request_bytes)} in, ${bytes(detail.response_bytes)} out`, 1);
  add("Edited", detail.mutated.split(",").map(spoken).join(", "), detail.mutated);
  add("Privacy", detail.privacy.map(spoken).join(", "), detail.privacy.length || null);
  add("Unreadable", detail.problems.map(spoken).join(", "), detail.problems.length || null);
  return (
    <Card title="Context" end={<Time ms={detail.started_at} isRelative />}>
      <Pairs pairs={pairs} />
    </Card>
  );
}
