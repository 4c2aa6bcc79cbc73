/** One turn: what was new in the request, the answer, and at the margin its facts. */
import { Link } from "wouter";
import { count, duration, moneyNano, NO_PRICE, plural, rate } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { RequestStatus } from "../../ui/Status.tsx";
import { Time } from "../../ui/Time.tsx";
import { Missing } from "../request/Conversation.tsx";
import { Said } from "../request/Message.tsx";
import type { Session, Turn } from "../sessions/api.ts";

/** A pause that a reader wants to know of. */
const PAUSE_MS = 60_000;

export function TurnView({ turn, session }: { turn: Turn; session: Session }) {
  const isFailed = turn.outcome !== "completed" || (turn.status ?? 0) >= 400;
  return (
    <>
      {turn.gap_ms !== null && turn.gap_ms >= PAUSE_MS && <p className="gap-line"><span>{duration(turn.gap_ms)} later</span></p>}
      <div className={`turn${isFailed ? " failed" : ""}`}>
        <div className="turn-said">
          <What turn={turn} />
          {isFailed && <Failure turn={turn} />}
        </div>
        <Margin turn={turn} session={session} />
      </div>
    </>
  );
}

function What({ turn }: { turn: Turn }) {
  const said = turn.said;
  if (!said) return <p className="rq-none muted">Not read here: the bodies around this turn are large. <Link className="link" href={pageOf.request(turn.id)}>Open it as a request</Link></p>;
  const shared = { id: turn.id, look: "rendered" } as const;
  const before = said.first - said.history.system;
  const isFirstSeen = said.earlier === null && before > 0;
  return (
    <>
      <Missing side="request" kept={said.kept.request} />
      {said.messages.map((message) => (
        <Said key={message.index} message={message} {...shared} isFolded={message.index < said.history.system || message.role === "system" || message.role === "developer"} />
      ))}
      {isFirstSeen && <p className="rq-none caption">{plural(before, "earlier message")} stood in this request. <Link className="link" href={pageOf.request(turn.id)}>Show them</Link></p>}
      <Missing side="response" kept={said.kept.response} />
      {said.answers.map(({ message, flags }, at) => (
        <Said key={`answer-${at}`} message={message} {...shared} isAnswer flags={flags} />
      ))}
    </>
  );
}

function Failure({ turn }: { turn: Turn }) {
  return (
    <div className="problem-box turn-failure">
      <h3>{turn.error_code ?? (turn.status ? `HTTP ${turn.status}` : turn.outcome.replaceAll("_", " "))}</h3>
      {turn.error_message && <p className="wire">{turn.error_message}</p>}
    </div>
  );
}

function Margin({ turn, session }: { turn: Turn; session: Session }) {
  const model = turn.model ?? turn.model_requested ?? turn.endpoint;
  const streamed = turn.duration_ms !== null && turn.ttft_ms !== null ? turn.duration_ms - turn.ttft_ms : null;
  const speed = streamed && turn.output_tokens ? (turn.output_tokens / streamed) * 1000 : null;
  const cost = turn.cost_nano_usd === null && turn.is_unpriced ? NO_PRICE : moneyNano(turn.cost_nano_usd ?? 0);
  return (
    <aside className="turn-margin num" aria-label={`Facts of turn ${turn.number}`}>
      <p className="turn-head">
        <Link href={pageOf.request(turn.id)} className="link" title="Open as a request">Turn {turn.number}</Link>
        <RequestStatus status={turn.status} outcome={turn.outcome} />
      </p>
      <p><Time ms={turn.started_at} precision="s" /></p>
      <p className="wire ellipsis" title={model}>{model}</p>
      <p>{duration(turn.duration_ms)}{turn.ttft_ms !== null && <span className="muted">, first token {duration(turn.ttft_ms)}</span>}</p>
      <p>{count(turn.input_tokens)} <span className="muted">→ {count(turn.output_tokens)} tokens</span></p>
      {speed !== null && <p className="muted">{rate(speed)}</p>}
      <p><b>{cost}</b>{turn.number > 1 && <span className="muted">, {moneyNano(turn.cost_so_far_nano_usd)} so far</span>}</p>
      {turn.attempt > 1 && <p className="warn">attempt {turn.attempt}</p>}
      {turn.key !== session.key && turn.key && <p className="wire">key {turn.key}</p>}
      {turn.user !== session.user && turn.user && <p className="wire">user {turn.user}</p>}
    </aside>
  );
}
