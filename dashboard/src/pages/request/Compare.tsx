/** Two requests beside each other: facts, parameters, messages. */
import { useMemo, useState, type FormEvent } from "react";
import { Link } from "wouter";
import { count, duration, rate } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { Button } from "../../ui/Button.tsx";
import { Diff } from "../../ui/Diff.tsx";
import { EmptyState, ErrorState, Loaded, SkeletonRows } from "../../ui/States.tsx";
import { Money, Time } from "../../ui/Time.tsx";
import { nameOf, useConversation, useDetail, type Conversation, type Detail, type Message } from "./api.ts";
import { paired, parameterDifferences, textOf, type Pair } from "./compare.ts";
import { speedOf } from "./Facts.tsx";
import { ROLES, spoken } from "./words.ts";

export default function CompareTab({ detail, other, onOther }: { detail: Detail; other: string; onOther(id: string): void }) {
  return (
    <div className="rq-compare">
      <Chooser detail={detail} other={other} onOther={onOther} />
      {other ? <Comparison key={other} detail={detail} other={other} /> : <EmptyState title="Compare with another request">Choose one above, or paste its id: an earlier turn, another attempt, a replay.</EmptyState>}
    </div>
  );
}

/** Requests that one may want to compare with, and a field for any other. */
function Chooser({ detail, other, onOther }: { detail: Detail; other: string; onOther(id: string): void }) {
  const [text, setText] = useState("");
  const known: [string, string][] = [];
  const add = (id: string | null | undefined, name: string) => {
    if (id && id !== detail.id && !known.some(([each]) => each === id)) known.push([id, name]);
  };
  add(detail.tags?.replay_of, "The original of this replay");
  add(detail.turn?.previous, "The turn before");
  add(detail.turn?.next, "The turn after");
  for (const each of detail.attempts) add(each.id, `Attempt ${each.attempt}`);
  for (const each of detail.trace.slice(0, 12)) add(each.id, `${each.model ?? each.endpoint} of this trace`);
  const onSubmit = (event: FormEvent) => {
    event.preventDefault();
    if (text.trim()) onOther(text.trim());
  };
  return (
    <form className="rq-chooser" onSubmit={onSubmit}>
      {known.slice(0, 6).map(([id, name]) => (
        <Button key={id} size="small" aria-pressed={id === other} onClick={() => onOther(id === other ? "" : id)}>{name}</Button>
      ))}
      <label className="sr" htmlFor="rq-other">Id of another request</label>
      <input id="rq-other" className="input mono" placeholder="Id of another request" value={text} spellCheck={false} autoComplete="off" onChange={(event) => setText(event.target.value)} />
      <Button size="small" type="submit">Compare</Button>
    </form>
  );
}

function Comparison({ detail, other }: { detail: Detail; other: string }) {
  const theirs = useDetail(other, { fresh: true });
  return (
    <Loaded answer={theirs} what="The other request could not be read" skeleton={<SkeletonRows rows={8} />}>
      {(found) => (
        <>
          <FactTable left={found} right={detail} />
          <Words left={found} right={detail} />
        </>
      )}
    </Loaded>
  );
}

function FactTable({ left, right }: { left: Detail; right: Detail }) {
  const rows: [string, (detail: Detail) => React.ReactNode, (detail: Detail) => unknown][] = [
    ["Model", (each) => <span className="wire">{nameOf(each)}</span>, nameOf],
    ["Status", (each) => each.status ?? spoken(each.outcome), (each) => each.status ?? each.outcome],
    ["Latency", (each) => duration(each.duration_ms), (each) => duration(each.duration_ms)],
    ["First token", (each) => duration(each.ttft_ms), (each) => duration(each.ttft_ms)],
    ["Speed", (each) => rate(speedOf(each)), (each) => rate(speedOf(each))],
    ["Input tokens", (each) => count(each.input_tokens), (each) => each.input_tokens],
    ["Cached", (each) => count(each.cached_input_tokens), (each) => each.cached_input_tokens],
    ["Output tokens", (each) => count(each.output_tokens), (each) => each.output_tokens],
    ["Cost", (each) => <Money nano={each.cost_nano_usd} />, (each) => each.cost_nano_usd],
    ["Finish", (each) => <span className="wire">{each.finish_reason ?? "–"}</span>, (each) => each.finish_reason],
    ["Prompt", (each) => <span className="wire">{each.prompt_name ? `${each.prompt_name} ${each.prompt_version ?? ""}` : "–"}</span>, (each) => `${each.prompt_name} ${each.prompt_version}`],
  ];
  return (
    <div className="rq-scroll">
      <table className="simple rq-facts num">
        <caption className="sr">Facts side by side</caption>
        <thead>
          <tr>
            <th><span className="sr">Fact</span></th>
            <th scope="col"><Link className="link" href={pageOf.request(left.id)}>The other</Link> <span className="muted"><Time ms={left.started_at} /></span></th>
            <th scope="col">This request <span className="muted"><Time ms={right.started_at} /></span></th>
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, shown, value]) => (
            <tr key={name} data-differs={value(left) !== value(right) ? "true" : undefined}>
              <th scope="row">{name}</th>
              <td>{shown(left)}</td>
              <td>{shown(right)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Words({ left, right }: { left: Detail; right: Detail }) {
  const all = { from: 0 };
  const theirs = useConversation(left.id, left.id ? all : {});
  const ours = useConversation(right.id, all);
  if (theirs.isError) return <ErrorState error={theirs.error} what="The other conversation could not be read" onRetry={() => void theirs.refetch()} />;
  if (ours.isError) return <ErrorState error={ours.error} what="The conversation could not be read" onRetry={() => void ours.refetch()} />;
  if (!theirs.data || !ours.data) return <SkeletonRows rows={8} />;
  return <Differences left={theirs.data} right={ours.data} />;
}

function Differences({ left, right }: { left: Conversation; right: Conversation }) {
  const parameters = useMemo(() => parameterDifferences(left, right), [left, right]);
  const pairs = useMemo(
    () => [...paired(left.messages, right.messages), ...paired(left.answers.map((each) => each.message), right.answers.map((each) => each.message)).map((pair) => ({ ...pair, isAnswer: true }))],
    [left, right],
  );
  const isMore = left.total > left.messages.length || right.total > right.messages.length;
  return (
    <>
      <h2>Parameters</h2>
      {parameters.length === 0 ? (
        <p className="muted">The same.</p>
      ) : (
        <div className="rq-scroll">
          <table className="simple rq-parameters mono">
            <caption className="sr">Parameters that differ</caption>
            <thead>
              <tr><th scope="col">Parameter</th><th scope="col">The other</th><th scope="col">This request</th></tr>
            </thead>
            <tbody>
              {parameters.map((each) => (
                <tr key={each.name}>
                  <th scope="row" className="wire">{each.name}</th>
                  <td className="wire gone">{each.left?.slice(0, 300) ?? "–"}</td>
                  <td className="wire new">{each.right?.slice(0, 300) ?? "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <h2>Messages</h2>
      {isMore && <p className="caption">The first {count(left.messages.length)} and {count(right.messages.length)} messages are compared.</p>}
      {runsOf(pairs).map((run, at) => ("same" in run ? <p key={at} className="rq-same muted">{run.same === 1 ? "1 message is the same" : `${count(run.same)} messages are the same`}</p> : <PairView key={at} pair={run} />))}
    </>
  );
}

function runsOf(pairs: readonly Pair[]): (Pair | { same: number })[] {
  const found: (Pair | { same: number })[] = [];
  for (const pair of pairs) {
    const last = found.at(-1);
    if (!pair.isSame) found.push(pair);
    else if (last && "same" in last) last.same += 1;
    else found.push({ same: 1 });
  }
  return found;
}

const LONGEST = 30_000;

function PairView({ pair }: { pair: Pair & { isAnswer?: boolean } }) {
  const role = pair.right?.role ?? pair.left?.role ?? "";
  const head = <header>{`${ROLES[role] ?? spoken(role)}${pair.isAnswer ? ", response" : ""}`}</header>;
  if (!pair.left || !pair.right) {
    const only = (pair.left ?? pair.right) as Message;
    return (
      <article className="rq-pair">
        {head}
        <div className="rq-pair-body" tabIndex={0}><p className={`rq-text wire ${pair.left ? "gone" : "new"}`}>{textOf(only).slice(0, LONGEST)}</p></div>
      </article>
    );
  }
  return (
    <article className="rq-pair">
      {head}
      <div className="rq-pair-body" tabIndex={0}><WordDiff before={textOf(pair.left)} after={textOf(pair.right)} /></div>
    </article>
  );
}

function WordDiff({ before, after }: { before: string; after: string }) {
  if (before.length + after.length <= LONGEST * 2) return <div className="rq-text"><Diff label="What changed" before={before} after={after} /></div>;
  return (
    <div className="rq-beside">
      <p className="rq-text wire gone">{before.slice(0, LONGEST)}</p>
      <p className="rq-text wire new">{after.slice(0, LONGEST)}</p>
    </div>
  );
}
