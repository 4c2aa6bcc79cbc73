/** Conversations over time: who talked, how long, what it cost. */
import { useMemo } from "react";
import { Link, useLocation } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { TimeRange } from "../../app/TimeRange.tsx";
import { Problem } from "../../lib/api.ts";
import { count, duration, NONE, plural } from "../../lib/format.ts";
import { useListed } from "../../lib/listed.ts";
import { pageOf, type Params } from "../../lib/path.ts";
import { text, timeParams, useUrlState } from "../../lib/url.ts";
import { Button } from "../../ui/Button.tsx";
import { ListExport } from "../../ui/ListExport.tsx";
import { EmptyState, ErrorState, SkeletonRows } from "../../ui/States.tsx";
import { Table, type Column } from "../../ui/Table.tsx";
import { Money, Time } from "../../ui/Time.tsx";
import { usePhone } from "../../ui/usePhone.ts";
import { useRowKeys } from "../../ui/useRowKeys.ts";
import { NotUnderstood } from "../requests/Empty.tsx";
import { FilterBar } from "../requests/FilterBar.tsx";
import { usePreviews, type Preview } from "../requests/rows.ts";
import { costOf, type Session, type SessionPage } from "./api.ts";
import "../requests/requests.css";
import "./sessions.css";

const SCHEMA = { ...timeParams("now-7d"), q: text(""), sort: text("-last"), sel: text("", "replace") } as const;
const CARD_PX = 76;

export default function SessionsPage() {
  const [state, set] = useUrlState(SCHEMA);
  const { from, to, q, sort, sel } = state;
  const [, navigate] = useLocation();
  const isPhone = usePhone();
  const span = useMemo<Params>(() => ({ from, to: to === "now" ? "" : to }), [from, to]);
  const params = useMemo<Params>(() => ({ q, ...span, sort: sort === "-last" ? "" : sort }), [q, span, sort]);
  const list = useListed<SessionPage>("/api/sessions", params);
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.sessions) ?? [], [list.data]);
  const ends = useMemo(() => rows.flatMap((row) => [{ id: row.first_request }, { id: row.last_request }]), [rows]);
  const previewOf = usePreviews(ends, true);
  useRowKeys({
    rows,
    rowKey: idOf,
    selected: sel || null,
    onSelect: (id) => set({ sel: id ?? "" }),
    onOpen: (row) => navigate(pageOf.session(row.id)),
  });
  const first = list.data?.pages[0];
  const badFilter = list.error instanceof Problem && list.error.code === "bad_filter" ? list.error : null;
  const isShown = rows.length > 0;
  return (
    <div className="sessions">
      <PageHead
        title="Sessions"
        isFull
        tools={
          <>
            <TimeRange range={{ from, to }} onChange={(range) => set(range)} />
            <ListExport path="/api/sessions" params={params} />
          </>
        }
      />
      <div className="filter-row">
        <FilterBar q={q} span={span} error={list.error} onChange={(changed) => set({ q: changed })} />
      </div>
      {badFilter && !isShown && <NotUnderstood q={q} problem={badFilter} onFilter={(changed) => set({ q: changed })} />}
      {list.isError && !badFilter && !isShown && <ErrorState error={list.error} what="Sessions could not be read" onRetry={() => void list.refetch()} />}
      {list.isPending && <SkeletonRows rows={16} />}
      {isShown && (
        <div data-stale={list.isPlaceholderData || badFilter !== null}>
          <Table
            key={isPhone ? "cards" : "table"}
            label="Sessions"
            columns={isPhone ? cards(previewOf) : columns(previewOf)}
            rows={rows}
            rowKey={idOf}
            total={first?.count ?? rows.length}
            sort={sort}
            onSort={(changed) => set({ sort: changed })}
            selected={sel || null}
            onPress={(row) => navigate(pageOf.session(row.id))}
            onEnd={list.more}
            {...(isPhone ? { rowHeight: CARD_PX } : { minWidth: 1040 })}
            isBusy={list.isFetching}
            foot={<Foot shown={rows.length} page={first} isMore={list.isFetchingNextPage} />}
          />
        </div>
      )}
      {!isShown && list.isSuccess && !list.isPlaceholderData && (q || from !== "now-90d" ? <NoneHere q={q} onClear={() => set({ q: "" })} onAnyTime={() => set({ from: "now-90d", to: "now" })} /> : <HowTo />)}
    </div>
  );
}

const idOf = (row: Session) => row.id;

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
function cards(previewOf: (id: string) => Preview | undefined): Column<Session>[] {
  return [
    {
      id: "card",
      title: "Sessions",
      cell: (row) => (
        <div className="card-row">
          <span className="card-line">
            <Time ms={row.last_at} isRelative />
            <span className="wire ellipsis muted">{row.user ?? row.id}</span>
            <Money nano={costOf(row)} />
          </span>
          <span className="card-line"><Ends session={row} previewOf={previewOf} /></span>
          <span className="card-line muted">
            <span className="ellipsis"><Link href={pageOf.session(row.id)} className="wire">{row.is_inferred ? "inferred" : row.id}</Link>, {plural(row.turns, "turn")}</span>
            {row.errors > 0 && <span className="bad">{plural(row.errors, "error")}</span>}
          </span>
        </div>
      ),
    },
  ];
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
      {page?.searched_to != null && <span className="warn">looked at requests since <Time ms={page.searched_to} /> only: narrow the range</span>}
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

