/** The columns of the list: what each shows of a request, and which are there at first. */
import type { ReactNode } from "react";
import { Link } from "wouter";
import { clock, count, date, duration, instant, isSameDay, moneyNano, NO_PRICE, NONE, rate, type Zone } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { LatencyBar } from "../../ui/LatencyBar.tsx";
import { RequestStatus } from "../../ui/Status.tsx";
import type { Column } from "../../ui/Table.tsx";
import { Skeleton } from "../../ui/States.tsx";
import type { Preview, RequestRow } from "./rows.ts";

export const STANDARD: readonly string[] = ["time", "status", "model", "message", "user", "latency", "tokens", "cost"];
const SLOW_MS = 8_000;

/** What cells need to know beside their row. */
export interface Scene {
  zone: Zone;
  now: number;
  /** Length of a full bar, ms. */
  mostMs: number;
  previewOf(id: string): Preview | undefined;
}

interface Kind {
  name: string;
  title?: ReactNode;
  width?: number;
  align?: "right";
  sort?: string;
  cell(row: RequestRow, scene: Scene): ReactNode;
}

const text = (value: string | null, className = "muted"): ReactNode => <span className={`wire ${value ? className : "faint"}`}>{value ?? NONE}</span>;

const KINDS: Readonly<Record<string, Kind>> = {
  time: { name: "Time", width: 134, sort: "time", cell: (row, scene) => <TimeCell ms={row.started_at} scene={scene} /> },
  status: { name: "Status", width: 78, cell: (row) => <span title={row.outcome === "completed" ? undefined : row.outcome}><RequestStatus status={row.status} outcome={row.outcome} /></span> },
  model: { name: "Model", width: 148, cell: (row) => text(row.model ?? row.model_requested, "") },
  message: { name: "Last message and answer", cell: (row, scene) => <Said row={row} preview={scene.previewOf(row.id)} /> },
  user: { name: "User", width: 108, cell: (row) => (row.user ? <Link href={pageOf.user(row.user)} className="wire muted">{row.user}</Link> : text(null)) },
  latency: {
    name: "Latency",
    title: <>Latency, <span className="first-token">first token</span></>,
    width: 168,
    sort: "latency",
    cell: (row, scene) => <LatencyBar ms={row.duration_ms} firstTokenMs={row.ttft_ms} most={scene.mostMs} isBad={isFailed(row)} isSlow={(row.duration_ms ?? 0) > SLOW_MS} />,
  },
  tokens: { name: "Tokens", width: 118, align: "right", sort: "tokens", cell: (row) => <Tokens row={row} /> },
  cost: { name: "Cost", width: 102, align: "right", sort: "cost", cell: (row) => <Cost row={row} /> },
  key: { name: "Key", width: 116, cell: (row) => text(row.key) },
  session: { name: "Session", width: 140, cell: (row) => (row.session ? <Link href={pageOf.session(row.session)} className="wire muted">{row.session}</Link> : text(null)) },
  environment: { name: "Environment", width: 110, cell: (row) => text(row.environment) },
  upstream: { name: "Upstream", width: 110, cell: (row) => text(row.upstream) },
  endpoint: { name: "Endpoint", width: 110, cell: (row) => text(row.endpoint) },
  ttft: { name: "First token", width: 92, align: "right", sort: "ttft", cell: (row) => duration(row.ttft_ms) },
  speed: { name: "Speed", width: 100, align: "right", cell: (row) => <span className={speed(row) === null ? "faint" : ""}>{rate(speed(row))}</span> },
  input: { name: "Tokens in", width: 90, align: "right", sort: "input", cell: (row) => count(row.input_tokens) },
  output: { name: "Tokens out", width: 90, align: "right", sort: "output", cell: (row) => count(row.output_tokens) },
  cached: { name: "Cached tokens", width: 110, align: "right", cell: (row) => count(row.cached_input_tokens) },
  finish: { name: "Finish reason", width: 110, cell: (row) => text(row.finish_reason) },
  prompt: { name: "Prompt", width: 130, cell: (row) => text(row.prompt_name && `${row.prompt_name}${row.prompt_version ? `@${row.prompt_version}` : ""}`) },
  error: { name: "Error", width: 150, cell: (row) => text(row.error_code ?? row.error_message, "bad") },
  outcome: { name: "Outcome", width: 110, cell: (row) => text(row.outcome) },
  attempt: { name: "Attempt", width: 74, align: "right", cell: (row) => count(row.attempt) },
  overhead: { name: "Added by Glassline", width: 130, align: "right", cell: (row) => duration(row.overhead_ms) },
  trace: { name: "Trace", width: 140, cell: (row) => <span className="mono wire muted">{row.trace_id ?? NONE}</span> },
  path: { name: "Path", width: 170, cell: (row) => text(`${row.method} ${row.path}`) },
  id: { name: "Id", width: 150, cell: (row) => <span className="mono wire muted">{row.id}</span> },
};

export const COLUMN_NAMES: readonly (readonly [id: string, name: string])[] = Object.entries(KINDS).map(([id, kind]) => [id, kind.name]);

export function columnName(id: string): string {
  return KINDS[id]?.name ?? id.replace(/^meta\./, "");
}

/** Say whether there is such a column; a tag is one as `meta.name`. */
export function isColumn(id: string): boolean {
  return id in KINDS || /^meta\../.test(id);
}

export function columnsOf(ids: readonly string[], scene: Scene): Column<RequestRow>[] {
  return ids.filter(isColumn).map((id) => {
    const kind = KINDS[id] ?? tag(id.slice("meta.".length));
    return {
      id,
      title: kind.title ?? kind.name,
      cell: (row) => kind.cell(row, scene),
      ...(kind.width ? { width: kind.width } : {}),
      ...(kind.align ? { align: kind.align } : {}),
      ...(kind.sort ? { sort: kind.sort } : {}),
      ...(id === "message" ? { className: "said" } : {}),
    };
  });
}

/** What remains of columns where there is little room: the first and the most telling ones, in their order. */
export function fitting(ids: readonly string[], widths: Readonly<Record<string, number>>, room: number): readonly string[] {
  const telling = ["time", "status", "message", "model", "latency", "cost", "tokens"];
  const order = ids.toSorted((one, other) => rank(one) - rank(other));
  const kept: string[] = [];
  function rank(id: string): number {
    const at = telling.indexOf(id);
    return at < 0 ? telling.length + ids.indexOf(id) : at;
  }
  for (const id of order) if (!kept.length || widthOf([...kept, id], widths) <= room) kept.push(id);
  return ids.filter((id) => kept.includes(id));
}

/** On a phone: the whole request in one cell. */
export function cardColumn(scene: Scene): Column<RequestRow>[] {
  return [
    {
      id: "card",
      title: "Requests",
      cell: (row) => (
        <div className="card-row">
          <span className="card-line">
            <TimeCell ms={row.started_at} scene={scene} />
            <RequestStatus status={row.status} outcome={row.outcome} />
            <span className="wire ellipsis muted">{row.model ?? row.model_requested}</span>
            <Cost row={row} />
          </span>
          <span className="card-line">
            <Said row={row} preview={scene.previewOf(row.id)} />
            <span className={(row.duration_ms ?? 0) > SLOW_MS ? "warn" : "muted"}>{duration(row.duration_ms)}</span>
          </span>
        </div>
      ),
    },
  ];
}

/** The least width at which all of the columns can be read. */
export function widthOf(ids: readonly string[], widths: Readonly<Record<string, number>>): number {
  return ids.filter(isColumn).reduce((sum, id) => sum + (widths[id] ?? KINDS[id]?.width ?? (id === "message" ? 230 : 110)), 0);
}

function tag(name: string): Kind {
  const value = (row: RequestRow) => row.tags?.[name];
  return { name, width: 110, cell: (row) => text(value(row) === undefined ? null : String(value(row))) };
}

export function isFailed(row: RequestRow): boolean {
  return row.outcome !== "completed" || (row.status ?? 0) >= 400;
}

function speed(row: RequestRow): number | null {
  if (!row.output_tokens || row.duration_ms === null || row.ttft_ms === null || row.duration_ms <= row.ttft_ms) return null;
  return (row.output_tokens / (row.duration_ms - row.ttft_ms)) * 1000;
}

/** A full bar is a little longer than nearly all requests: one that took minutes must not flatten the others. */
export function fullBar(rows: readonly RequestRow[]): number {
  const known = rows.slice(0, 300).flatMap((row) => row.duration_ms ?? []).toSorted((one, other) => one - other);
  return Math.max(1_000, (known[Math.floor(known.length * 0.96)] ?? 0) * 1.15);
}

function TimeCell({ ms, scene }: { ms: number; scene: Scene }) {
  const written = clock(ms, scene.zone, "ms");
  const day = isSameDay(ms, scene.now, scene.zone) ? "" : `${date(ms, scene.zone, scene.now)} `;
  return (
    <time dateTime={new Date(ms).toISOString()} title={instant(ms, scene.zone, "ms", scene.now)}>
      <span className="muted">{day}</span>
      {written.slice(0, 8)}
      <span className="muted">{day ? "" : written.slice(8)}</span>
    </time>
  );
}

const MISSING: Readonly<Record<string, string>> = {
  asked: "not kept: the caller asked for it",
  erased: "deleted",
  sampled_out: "not kept: sampled out",
  redaction_failed: "not kept: redaction failed",
  damaged: "cannot be read: damaged",
  not_kept: "not kept, or kept no longer",
};

function Said({ row, preview }: { row: RequestRow; preview: Preview | undefined }) {
  const failure = isFailed(row) ? (row.error_message ?? row.error_code ?? (row.outcome === "completed" ? null : row.outcome)) : null;
  if (!preview) return failure ? <span className="muted wire">{failure}</span> : <Skeleton width="70%" height="9px" />;
  const asked = preview.message ?? MISSING[preview.request_missing] ?? "";
  const answered = failure ?? preview.answer ?? (preview.request_missing && preview.message === null ? "" : (MISSING[preview.response_missing] ?? ""));
  return (
    <span className="said-both">
      <span className={`wire ellipsis${preview.message ? "" : " faint"}`}>{asked || "no text"}</span>
      {answered && <span className="muted wire ellipsis">{failure ? "" : "→ "}{answered}</span>}
    </span>
  );
}

function Tokens({ row }: { row: RequestRow }) {
  if (row.input_tokens === null && row.output_tokens === null) return <span className="faint">{NONE}</span>;
  return <>{count(row.input_tokens)} <span className="muted">→ {count(row.output_tokens)}</span></>;
}

function Cost({ row }: { row: RequestRow }) {
  if (row.cost_nano_usd === null) return row.is_unpriced ? <Link href="/settings/prices" className="muted">{NO_PRICE}</Link> : <span className="faint">{NONE}</span>;
  return <span className={row.cost_nano_usd ? "" : "muted"}>{moneyNano(row.cost_nano_usd)}</span>;
}
