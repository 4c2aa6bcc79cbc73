/** A session as one conversation: what each turn added, when, and what it all cost. */
import { useQueries } from "@tanstack/react-query";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { Link, useLocation, useParams } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { get, Problem } from "../../lib/api.ts";
import { count, duration, moneyNano, NONE, plural, short } from "../../lib/format.ts";
import { useCommands } from "../../lib/keys.ts";
import { pageOf, readSegment } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { flag, useUrlState, whole } from "../../lib/url.ts";
import { vars } from "../../lib/vars.ts";
import { Button } from "../../ui/Button.tsx";
import { Facts } from "../../ui/Card.tsx";
import { Id } from "../../ui/CopyButton.tsx";
import { EmptyState, ErrorState, Loaded, Skeleton } from "../../ui/States.tsx";
import { Money, Time } from "../../ui/Time.tsx";
import { costOf, pathOf, type Session, type Turns } from "../sessions/api.ts";
import { quoted } from "../requests/filter.ts";
import { TurnView } from "./TurnView.tsx";
import "../request/request.css";
import "./session.css";

const PAGE = 20;
/** Of a longer session only the end is open at first. */
const FEW = 40;
const ROOM_PX = 260;
const SCHEMA = { all: flag(false, "replace"), turn: whole(0, "replace") } as const;

export default function SessionPage() {
  const { id = "" } = useParams();
  const name = readSegment(id);
  const answer = useRead<Turns>(pathOf(name), { limit: 1 }, { every: 15_000, fresh: true });
  const isGone = answer.error instanceof Problem && answer.error.status === 404;
  return (
    <div className="session">
      <PageHead title={name} windowTitle={`Session ${name}`} crumbs={[["Sessions", "/sessions"]]} tools={<Link className="btn hide-s" href={pageOf.requests(`session:${quoted(name)}`, { from: answer.data ? String(answer.data.session.first_at) : "now-90d" })}>All as requests</Link>} />
      {isGone ? (
        <EmptyState title="No session has this name" action={<Link className="btn" href="/sessions">All sessions</Link>}>
          It may have been deleted, or its requests are older than <code>retention.records</code>.
        </EmptyState>
      ) : (
        <Loaded answer={answer} what="The session could not be read" skeleton={<Skeleton height="320px" />}>
          {(data) => <Told key={name} session={data.session} />}
        </Loaded>
      )}
    </div>
  );
}

function Told({ session }: { session: Session }) {
  const [state, set] = useUrlState(SCHEMA);
  const isLong = session.turns > FEW;
  // A turn that is named in the address is there whether it is folded or not.
  const isOpen = !isLong || state.all || (state.turn > 0 && state.turn <= session.turns - PAGE);
  const start = isOpen ? 0 : session.turns - PAGE;
  return (
    <div className="session-told">
      <Summary session={session} />
      {!isOpen && (
        <div className="session-fold">
          <span>{plural(start, "earlier turn")}</span>
          <Button size="small" onClick={() => set({ all: true })}>Show from the beginning</Button>
        </div>
      )}
      {isLong && state.all && (
        <div className="session-fold">
          <span>{plural(session.turns, "turn")}, from the beginning</span>
          <Button size="small" onClick={() => set({ all: false, turn: 0 })}>Only the last {PAGE}</Button>
        </div>
      )}
      <Column key={start} session={session} start={start} chosen={state.turn} onChoose={(turn) => set({ turn })} />
    </div>
  );
}

function Summary({ session }: { session: Session }) {
  const time = session.last_at - session.first_at;
  return (
    <>
      <Facts
        facts={[
          ["Cost", <Money key="cost" nano={costOf(session)} />, session.unpriced ? `${plural(session.unpriced, "turn")} without a price` : session.turns > 1 ? `${moneyNano(session.cost_nano_usd / session.turns)} a turn` : ""],
          ["Turns", count(session.turns), session.turns > 1 ? `in ${duration(time)}` : ""],
          ["Errors", session.errors ? <Link key="errors" className="bad" href={pageOf.requests(`session:${quoted(session.id)} (-outcome:completed OR status:>=400)`, { from: String(session.first_at) })}>{count(session.errors)}</Link> : "0", session.errors ? `${plural(session.turns - session.errors, "turn")} went well` : ""],
          ["Tokens", <>{short(session.input_tokens)} <span className="muted">→ {short(session.output_tokens)}</span></>, ""],
          ["Began", <Time key="began" ms={session.first_at} precision="min" />, ""],
          ["Last seen", <Time key="last" ms={session.last_at} isRelative />, ""],
        ]}
      />
      <p className="session-about caption">
        {session.user && <span>User <Link className="link wire" href={pageOf.user(session.user)}>{session.user}</Link></span>}
        {session.key && <span className="wire">Key {session.key}</span>}
        {session.models.length > 0 && <span className="wire">{session.models.length === 1 ? "Model" : "Models"} {session.models.join(", ")}</span>}
        <span>{session.is_inferred ? "Inferred: each request goes on from the answer of one before" : "Named by x-glassline-session"}</span>
        <Id id={session.id} />
      </p>
    </>
  );
}

/** All turns from `start` on; only those in view are in the page. */
function Column({ session, start, chosen, onChoose }: { session: Session; start: number; chosen: number; onChoose(turn: number): void }) {
  const [, navigate] = useLocation();
  const host = useRef<HTMLOListElement>(null);
  const [offset, setOffset] = useState(0);
  const size = session.turns - start;
  useLayoutEffect(() => {
    const top = (host.current?.getBoundingClientRect().top ?? 0) + scrollY;
    if (Math.abs(top - offset) > 1) setOffset(top);
  });
  const virtual = useWindowVirtualizer({ count: size, estimateSize: () => ROOM_PX, overscan: 4, scrollMargin: offset, getItemKey: (at) => start + at });
  const items = virtual.getVirtualItems();
  const pages = [...new Set(items.map((item) => Math.floor((start + item.index) / PAGE)))];
  const answers = useQueries({
    queries: pages.map((page) => {
      const params = { from: page * PAGE, limit: PAGE, said: 1, ...(isLast(page, session.turns) ? { of: session.turns } : {}) };
      return {
        queryKey: [pathOf(session.id), params],
        queryFn: ({ signal }: { signal: AbortSignal }) => get<Turns>(pathOf(session.id), { from: params.from, limit: PAGE, said: 1 }, signal),
        staleTime: 60_000,
      };
    }),
  });
  const byNumber = useMemo(() => new Map(answers.flatMap((answer) => answer.data?.turns ?? []).map((turn) => [turn.number, turn])), [answers]);
  const failed = answers.find((answer) => answer.isError);

  const step = (by: number) => {
    const visible = items.find((item) => item.end > scrollY + 80);
    const from = chosen || (visible ? start + visible.index + 1 - Math.max(0, by) : start);
    const to = Math.min(session.turns, Math.max(start + 1, from + by));
    onChoose(to);
    virtual.scrollToIndex(to - 1 - start, { align: "start" });
  };
  useCommands([
    { keys: "j, ArrowDown", title: "Next turn", group: "Session", run: () => step(1) },
    { keys: "k, ArrowUp", title: "Previous turn", group: "Session", run: () => step(-1) },
    { keys: "Enter", title: "Open the turn as a request", group: "Session", run: () => byNumber.get(chosen) && navigate(pageOf.request(byNumber.get(chosen)?.id ?? "")) },
    { keys: "Escape", title: "Let go of the turn", group: "Session", run: () => onChoose(0) },
  ]);
  const wasScrolled = useRef(false);
  useEffect(() => {
    if (wasScrolled.current || chosen <= start || !offset) return;
    wasScrolled.current = true;
    virtual.scrollToIndex(chosen - 1 - start, { align: "start" });
  }, [chosen, start, offset, virtual]);

  return (
    <>
      {failed && <ErrorState error={failed.error} what="Some turns could not be read" onRetry={() => void failed.refetch()} />}
      <ol ref={host} className="turns card" aria-label="Turns" style={vars({ whole: `${virtual.getTotalSize()}px` })}>
        {items.map((item) => {
          const number = start + item.index + 1;
          const turn = byNumber.get(number);
          return (
            <li key={item.key} data-index={item.index} ref={virtual.measureElement} aria-setsize={session.turns} aria-posinset={number} aria-current={number === chosen ? "true" : undefined} style={vars({ top: `${item.start - offset}px` })}>
              {turn ? <TurnView turn={turn} session={session} /> : <TurnRoom number={number} />}
            </li>
          );
        })}
      </ol>
      {session.turns === 0 && <p className="muted">{NONE}</p>}
    </>
  );
}

/** The page in which new turns appear. */
function isLast(page: number, turns: number): boolean {
  return page === Math.floor((turns - 1) / PAGE);
}

function TurnRoom({ number }: { number: number }): ReactNode {
  return (
    <div className="turn" aria-busy="true">
      <div className="rq-said">
        <span className="muted num">{number}</span>
        <Skeleton width="60ch" height="4.8em" />
      </div>
    </div>
  );
}
