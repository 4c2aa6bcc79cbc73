import type { ReactNode } from "react";
import { Link } from "wouter";
import { count, duration, moneyNano, moneyChange, plural } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { Button } from "../../ui/Button.tsx";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { Diff } from "../../ui/Diff.tsx";
import { StatusPill } from "../../ui/Status.tsx";
import type { Original } from "./draft.ts";
import type { RequestFacts, Run, Said } from "./run.ts";

export type Show = "text" | "diff";

/** The original beside what was run, newest first. */
export function Results({ original, runs, show, onCancel, onForget }: { original: Original | null; runs: readonly Run[]; show: Show; onCancel(run: Run): void; onForget(run: Run): void }) {
  const before = original?.answer?.text ?? null;
  return (
    <div className="pg-results" aria-live="off">
      {original && <OriginalCard original={original} />}
      <div className="pg-runs">
        {runs.length === 0 && <p className="muted">Nothing was run yet: edit what you like, and press Replay.</p>}
        {runs.map((run) => <RunCard key={run.number} run={run} before={before} original={original?.request ?? null} show={show} onCancel={() => onCancel(run)} onForget={() => onForget(run)} />)}
      </div>
    </div>
  );
}

function OriginalCard({ original }: { original: Original }) {
  const { request, answer } = original;
  return (
    <article className="card pg-result pg-original">
      <header>
        <h3>Original</h3>
        <span className="wire mono ellipsis">{request.model ?? request.model_requested}</span>
        <span className="end">{request.outcome !== "completed" ? <StatusPill level="bad">{request.outcome.replaceAll("_", " ")}</StatusPill> : <StatusPill level={(request.status ?? 0) < 400 ? "ok" : "bad"}>{request.status}</StatusPill>}</span>
      </header>
      <Figures request={request} against={null} />
      {answer ? <Answer said={answer} text={answer.text} /> : <p className="caption">Its answer was not kept.</p>}
      <footer>
        <Link href={pageOf.request(request.id)} className="link">Open the request</Link>
      </footer>
    </article>
  );
}

function RunCard({ run, before, original, show, onCancel, onForget }: { run: Run; before: string | null; original: RequestFacts | null; show: Show; onCancel(): void; onForget(): void }) {
  const isOpen = run.state === "running" || run.state === "waiting";
  return (
    <article className="card pg-result" data-state={run.state}>
      <header>
        <h3>Run {run.number}</h3>
        <span className="wire mono ellipsis">{run.request?.model ?? (run.model || run.request?.model_requested)}</span>
        {original && run.upstream !== original.upstream && <span className="caption">at {run.upstream}</span>}
        <span className="end">
          <State run={run} />
        </span>
      </header>
      {run.request ? <Figures request={run.request} against={original} /> : <Clock run={run} />}
      {run.problem && (
        <div className="problem-box" role="alert">
          <h2>{run.errorCode ? `${(run.status ?? 0) < 500 ? "Refused" : "Failed"}: ${run.errorCode.replaceAll("_", " ")}` : run.status && run.status >= 400 ? `HTTP ${run.status}` : "It failed"}</h2>
          <p className="wire">{run.problem}</p>
        </div>
      )}
      {show === "diff" && before !== null && run.said && !run.problem ? (
        <div className="pg-answer" tabIndex={0} role="group" aria-label="Difference"><Diff label={`What run ${run.number} says otherwise`} before={before} after={run.text} /></div>
      ) : (
        <Answer said={run.said} text={run.text} thinking={run.thinking} isOpen={isOpen} />
      )}
      <footer>
        {isOpen && <Button size="small" icon="cross" onClick={onCancel}>Cancel</Button>}
        {run.request && <Link href={pageOf.request(run.request.id)} className="link">Open the request</Link>}
        {run.text && <CopyButton text={run.text} label="Copy the answer" isIcon />}
        {!isOpen && <Button size="small" kind="ghost" onClick={onForget}>Put away</Button>}
      </footer>
    </article>
  );
}

function State({ run }: { run: Run }) {
  if (run.state === "waiting") return <StatusPill level="live">Waiting</StatusPill>;
  if (run.state === "running") return <StatusPill level="live">{run.text ? "Streaming" : run.thinking ? "Thinking" : "Running"}</StatusPill>;
  if (run.state === "cancelled") return <StatusPill level="none">Cancelled</StatusPill>;
  if (run.state === "failed") return <StatusPill level="bad">{run.status ?? "Failed"}</StatusPill>;
  return <StatusPill level="ok">{run.status}</StatusPill>;
}

/** While it runs there is no record yet: only the clock. */
function Clock({ run }: { run: Run }) {
  if (run.ms === null) return <p className="pg-figures muted">{run.state === "running" ? "sent" : "–"}</p>;
  return (
    <p className="pg-figures num">
      {run.firstMs !== null && <span>first token {duration(run.firstMs)}</span>}
      <span>{duration(run.ms)}</span>
    </p>
  );
}

/** What it took and cost, and how that compares with the original. */
function Figures({ request, against }: { request: RequestFacts; against: RequestFacts | null }) {
  const cheaper = against?.cost_nano_usd != null && request.cost_nano_usd !== null ? (request.cost_nano_usd - against.cost_nano_usd) / 1e9 : null;
  const parts: ReactNode[] = [
    request.ttft_ms !== null && request.streaming && <span key="ttft" title="Time to the first token">first token {duration(request.ttft_ms)}</span>,
    <span key="time" title="From the request to the end of its answer">{duration(request.duration_ms)}</span>,
    <span key="tokens" title="Tokens in and out">{count(request.input_tokens)} → {count(request.output_tokens)} tokens</span>,
    <span key="cost"><b>{moneyNano(request.cost_nano_usd)}</b>{cheaper !== null && cheaper !== 0 && <small className="muted"> {moneyChange(cheaper)}</small>}</span>,
    request.finish_reason && request.finish_reason !== "stop" && request.finish_reason !== "end_turn" && request.finish_reason !== "STOP" && <span key="end" className="warn">ended with {request.finish_reason}</span>,
  ];
  return <p className="pg-figures num">{parts}</p>;
}

function Answer({ said, text, thinking, isOpen }: { said: Said | null; text: string; thinking?: string; isOpen?: boolean }) {
  return (
    <div className="pg-answer" tabIndex={0} role="group" aria-label="Answer">
      {thinking && !text && <p className="pg-thinking wire">{thinking}</p>}
      {said?.reasoning && (
        <details>
          <summary>Reasoning <span className="muted">{plural(said.reasoning.length, "letter")}</span></summary>
          <p className="pg-thinking wire lines">{said.reasoning}</p>
        </details>
      )}
      {text && <p className={`wire lines ${isOpen ? "pg-open" : ""}`}>{text}</p>}
      {said?.tool_calls.map((call, at) => (
        <pre key={at} className="code wire"><b>{call.name}</b> {pretty(call.arguments)}</pre>
      ))}
      {!isOpen && said && !text && !said.tool_calls.length && !said.error && <p className="muted">Nothing was said.</p>}
    </div>
  );
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
