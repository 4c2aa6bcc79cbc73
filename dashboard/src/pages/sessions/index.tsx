/** Conversations over time: who talked, how long, what it cost. */
import { useMemo } from "react";
import { Link } from "wouter";
import { count, duration, NONE, plural } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { Button } from "../../ui/Button.tsx";
import { EmptyState } from "../../ui/States.tsx";
import type { Column } from "../../ui/Table.tsx";
import { Money, Time } from "../../ui/Time.tsx";
import { GroupedList, groupedSchema, SearchedTo, useGrouped } from "../requests/Grouped.tsx";
import { usePreviews, type Preview } from "../requests/rows.ts";
import { costOf, type Session, type SessionPage } from "./api.ts";
import "./sessions.css";

const SCHEMA = groupedSchema("now-7d", "-last");
const rowsOf = (page: SessionPage) => page.sessions;

export default function SessionsPage() {
  const grouped = useGrouped("/api/sessions", SCHEMA, rowsOf);
  const { state, set, list, rows, first } = grouped;
  const { q, from } = state;
  const ends = useMemo(() => rows.flatMap((row) => [{ id: row.first_request }, { id: row.last_request }]), [rows]);
  const previewOf = usePreviews(ends, true);
  return (
    <GroupedList
      grouped={grouped}
      title="Sessions"
      isFull
      columns={columns(previewOf)}
      minWidth={1040}
      card={(row) => <Card session={row} previewOf={previewOf} />}
      cardHeight={76}
      hrefOf={(row) => pageOf.session(row.id)}
      foot={<Foot shown={rows.length} page={first} isMore={list.isFetchingNextPage} />}
      empty={q || from !== "now-90d" ? <NoneHere q={q} onClear={() => set({ q: "" })} onAnyTime={() => set({ from: "now-90d", to: "now" })} /> : <HowTo />}
    />
  );
}

function columns(previewOf: (id: string) => Preview | undefined): Column<Session>[] {
  return [
    { id: "last", title: "Last seen", width: 104, sort: "last", cell: (row) => <Time ms={row.last_at} isRelative /> },
    { id: "id", title: "Session", width: 156, cell: (row) => <Name session={row} /> },
    { id: "user", title: "User", width: 116, cell: (row) => (row.user ? <Link href={pageOf.user(row.user)} className="wire muted">{row.user}</Link> : <span className="faint">{NONE}</span>) },
    { id: "said", title: "First message and last answer", className: "said", cell: (row) => <Ends session={row} previewOf={previewOf} /> },
    { id: "model", title: "Models", width: 138, cell: (row) => <span className="wire muted" title={row.models.join(", ")}>{row.models[0] ?? NONE}{row.models.length > 1 && ` + ${row.models.length - 1}`}</span> },
    { id: "turns", title: "Turns", width: 74, align: "right", sort: "turns", cell: (row) => count(row.turns) },
    { id: "duration", title: "Duration", width: 98, align: "right", sort: "duration", cell: (row) => (row.turns > 1 ? duration(row.last_at - row.first_at) : <span className="faint">{NONE}</span>) },
    { id: "errors", title: "Errors", width: 76, align: "right", sort: "errors", cell: (row) => (row.errors ? <span className="bad">{count(row.errors)}</span> : <span className="faint">0</span>) },
    { id: "cost", title: "Cost", width: 112, align: "right", sort: "cost", cell: (row) => <Money nano={costOf(row)} /> },
  ];
}

/** On a phone: the whole session in one cell. */
function Card({ session, previewOf }: { session: Session; previewOf(id: string): Preview | undefined }) {
  return (
    <div className="card-row">
      <span className="card-line">
        <Time ms={session.last_at} isRelative />
        <span className="wire ellipsis muted">{session.user ?? session.id}</span>
        <Money nano={costOf(session)} />
      </span>
      <span className="card-line"><Ends session={session} previewOf={previewOf} /></span>
      <span className="card-line muted">
        <span className="ellipsis"><Link href={pageOf.session(session.id)} className="wire">{session.is_inferred ? "inferred" : session.id}</Link>, {plural(session.turns, "turn")}</span>
        {session.errors > 0 && <span className="bad">{plural(session.errors, "error")}</span>}
      </span>
    </div>
  );
}

function Name({ session }: { session: Session }) {
  return (
    <Link href={pageOf.session(session.id)} className="session-name" title={session.is_inferred ? `${session.id}: found by what its requests continue` : session.id}>
      <span className="mono wire ellipsis">{session.is_inferred ? shortened(session.id) : session.id}</span>
      {session.is_inferred && <small className="muted">inferred</small>}
    </Link>
  );
}

/** The end of an inferred name tells sessions apart; its beginning is the time. */
function shortened(id: string): string {
  return id.replace(/^auto:/, "").slice(-12);
}

function Ends({ session, previewOf }: { session: Session; previewOf(id: string): Preview | undefined }) {
  const first = previewOf(session.first_request);
  const last = previewOf(session.last_request);
  if (!first && !last) return <span className="faint">…</span>;
  const answer = last?.answer ?? null;
  return (
    <span className="said-both">
      <span className="ellipsis wire">{first?.message ?? <i className="faint">not stored</i>}</span>
      <span className="ellipsis wire muted">{answer ? `→ ${answer}` : "→ no answer"}</span>
    </span>
  );
}

function Foot({ shown, page, isMore }: { shown: number; page: SessionPage | undefined; isMore: boolean }) {
  const total = page?.count ?? null;
  const of = total === null || total <= shown ? "" : ` of ${page?.is_count_exact ? "" : "over "}${count(total)}`;
  return (
    <>
      <span>{isMore ? "Reading more…" : `${count(shown)}${of} ${shown === 1 && !of ? "session" : "sessions"}`}</span>
      <SearchedTo page={page} />
    </>
  );
}

function NoneHere({ q, onClear, onAnyTime }: { q: string; onClear(): void; onAnyTime(): void }) {
  return (
    <EmptyState title={q ? "No session fits" : "No sessions in this time"} action={<>{q && <Button onClick={onClear}>Clear the filter</Button>}<Button onClick={onAnyTime}>Look at the last 90 days</Button></>}>
      {q ? "A filter means the sessions in which one request fulfils all of it." : "Requests that name no session and continue no other are in none."}
    </EmptyState>
  );
}

function HowTo() {
  return (
    <EmptyState title="No sessions yet">
      <>
        Send <code>x-glassline-session: your-conversation-id</code> with each request of a conversation, and <code>x-glassline-user: who</code> to see for whom.
        Without the header, a request that goes on from an earlier answer joins its session by itself, as soon as a second turn comes.
      </>
    </EmptyState>
  );
}

