/** In whose name requests are sent: who costs most, who meets errors, who was here last. */
import { useMemo } from "react";
import { Link, useLocation } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { TimeRange } from "../../app/TimeRange.tsx";
import { Problem } from "../../lib/api.ts";
import { count, moneyNano, NONE, percent, plural, short } from "../../lib/format.ts";
import { useListed } from "../../lib/listed.ts";
import { pageOf, type Params } from "../../lib/path.ts";
import { text, timeParams, useUrlState } from "../../lib/url.ts";
import { vars } from "../../lib/vars.ts";
import { Button } from "../../ui/Button.tsx";
import { ListExport } from "../../ui/ListExport.tsx";
import { EmptyState, ErrorState, SkeletonRows } from "../../ui/States.tsx";
import { Table, type Column } from "../../ui/Table.tsx";
import { Money, Time } from "../../ui/Time.tsx";
import { usePhone } from "../../ui/usePhone.ts";
import { useRowKeys } from "../../ui/useRowKeys.ts";
import { NotUnderstood } from "../requests/Empty.tsx";
import { FilterBar } from "../requests/FilterBar.tsx";
import { costOf, type User, type UserPage } from "./api.ts";
import "../requests/requests.css";
import "./users.css";

const SCHEMA = { ...timeParams("now-30d"), q: text(""), sort: text("-cost"), sel: text("", "replace") } as const;
const CARD_PX = 58;

export default function UsersPage() {
  const [state, set] = useUrlState(SCHEMA);
  const { from, to, q, sort, sel } = state;
  const [, navigate] = useLocation();
  const isPhone = usePhone();
  const span = useMemo<Params>(() => ({ from, to: to === "now" ? "" : to }), [from, to]);
  const params = useMemo<Params>(() => ({ q, ...span, sort: sort === "-cost" ? "" : sort }), [q, span, sort]);
  const list = useListed<UserPage>("/api/users", params);
  const rows = useMemo(() => list.data?.pages.flatMap((page) => page.users) ?? [], [list.data]);
  const href = (row: User) => `${pageOf.user(row.id)}${from === "now-30d" && to === "now" ? "" : `?from=${from}${to === "now" ? "" : `&to=${to}`}`}`;
  useRowKeys({ rows, rowKey: idOf, selected: sel || null, onSelect: (id) => set({ sel: id ?? "" }), onOpen: (row) => navigate(href(row)) });
  const first = list.data?.pages[0];
  const badFilter = list.error instanceof Problem && list.error.code === "bad_filter" ? list.error : null;
  const most = Math.max(1, ...rows.map((row) => row.cost_nano_usd));
  const isShown = rows.length > 0;
  return (
    <div className="users">
      <PageHead
        title="Users"
        tools={
          <>
            <TimeRange range={{ from, to }} onChange={(range) => set(range)} />
            <ListExport path="/api/users" params={params} />
          </>
        }
      />
      <div className="filter-row">
        <FilterBar q={q} span={span} error={list.error} onChange={(changed) => set({ q: changed })} />
      </div>
      {badFilter && !isShown && <NotUnderstood q={q} problem={badFilter} onFilter={(changed) => set({ q: changed })} />}
      {list.isError && !badFilter && !isShown && <ErrorState error={list.error} what="Users could not be read" onRetry={() => void list.refetch()} />}
      {list.isPending && <SkeletonRows rows={16} />}
      {isShown && (
        <div data-stale={list.isPlaceholderData || badFilter !== null}>
          <Table
            key={isPhone ? "cards" : "table"}
            label="Users"
            columns={isPhone ? cards(href) : columns(href, most)}
            rows={rows}
            rowKey={idOf}
            total={first?.count ?? rows.length}
            sort={sort}
            onSort={(changed) => set({ sort: changed })}
            selected={sel || null}
            onPress={(row) => navigate(href(row))}
            onEnd={list.more}
            {...(isPhone ? { rowHeight: CARD_PX } : { minWidth: 860 })}
            isBusy={list.isFetching}
            foot={<Foot shown={rows.length} page={first} q={q} span={span} isMore={list.isFetchingNextPage} />}
          />
        </div>
      )}
      {!isShown && list.isSuccess && !list.isPlaceholderData && <Nobody q={q} page={first} onClear={() => set({ q: "" })} onAnyTime={from === "now-90d" ? null : () => set({ from: "now-90d", to: "now" })} />}
    </div>
  );
}

const idOf = (row: User) => row.id;

function columns(href: (row: User) => string, most: number): Column<User>[] {
  return [
    { id: "user", title: "User", cell: (row) => <Link href={href(row)} className="wire">{row.id}</Link> },
    {
      id: "cost",
      title: "Cost",
      width: 210,
      align: "right",
      sort: "cost",
      cell: (row) => <span className="cost-bar"><i aria-hidden="true" style={vars({ share: `${(row.cost_nano_usd / most) * 100}%` })} /><Money nano={costOf(row)} /></span>,
    },
    { id: "requests", title: "Requests", width: 104, align: "right", sort: "requests", cell: (row) => <span title={count(row.requests)}>{short(row.requests)}</span> },
    { id: "each", title: "Per request", width: 104, align: "right", cell: (row) => <span className="muted">{row.requests && costOf(row) !== null ? moneyNano(row.cost_nano_usd / row.requests) : NONE}</span> },
    { id: "errors", title: "Errors", width: 132, align: "right", sort: "errors", cell: (row) => <Errors user={row} /> },
    { id: "tokens", title: "Tokens", width: 140, align: "right", sort: "tokens", cell: (row) => <span title={`${count(row.input_tokens)} in, ${count(row.output_tokens)} out`}>{short(row.input_tokens)} <span className="muted">→ {short(row.output_tokens)}</span></span> },
    { id: "last", title: "Last seen", width: 124, align: "right", sort: "last", cell: (row) => (row.last_at === null ? <span className="faint" title="The requests are not stored any more">{NONE}</span> : <Time ms={row.last_at} isRelative />) },
  ];
}

/** On a phone: the whole user in one cell. */
function cards(href: (row: User) => string): Column<User>[] {
  return [
    {
      id: "card",
      title: "Users",
      cell: (row) => (
        <div className="card-row">
          <span className="card-line"><Link href={href(row)} className="wire ellipsis grow">{row.id}</Link><Money nano={costOf(row)} /></span>
          <span className="card-line muted">
            <span className="grow">{plural(row.requests, "request")}</span>
            {row.errors > 0 && <span className="bad">{plural(row.errors, "error")}</span>}
            {row.last_at !== null && <Time ms={row.last_at} isRelative />}
          </span>
        </div>
      ),
    },
  ];
}

function Errors({ user }: { user: User }) {
  if (!user.errors) return <span className="faint">0</span>;
  return <span><span className="bad">{short(user.errors)}</span> <span className="muted">{percent(user.errors / Math.max(1, user.requests), user.requests)}</span></span>;
}

function Foot({ shown, page, q, span, isMore }: { shown: number; page: UserPage | undefined; q: string; span: Params; isMore: boolean }) {
  const total = page?.count ?? shown;
  const nameless = page?.nameless;
  return (
    <>
      <span>{isMore ? "Reading more…" : total > shown ? `${count(shown)} of ${plural(total, "user")}` : plural(total, "user")}</span>
      {nameless && nameless.requests > 0 && (
        <span>
          <Link className="link" href={pageOf.requests(q ? `(${q}) user:` : "user:", span)}>{plural(nameless.requests, "request")}</Link> for {moneyNano(nameless.cost_nano_usd)} {nameless.requests === 1 ? "names" : "name"} no user
        </span>
      )}
      {page?.searched_to != null && <span className="warn">looked at requests since <Time ms={page.searched_to} /> only: narrow the range</span>}
    </>
  );
}

function Nobody({ q, page, onClear, onAnyTime }: { q: string; page: UserPage | undefined; onClear(): void; onAnyTime: (() => void) | null }) {
  const nameless = page?.nameless?.requests ?? 0;
  if (q) return <EmptyState title="No user fits" action={<Button onClick={onClear}>Clear the filter</Button>}>{nameless > 0 && `${plural(nameless, "request")} ${nameless === 1 ? "fits" : "fit"} and ${nameless === 1 ? "names" : "name"} no user.`}</EmptyState>;
  return (
    <EmptyState title={nameless ? "No request names a user" : "No users in this time"} action={onAnyTime && <Button onClick={onAnyTime}>Look at the last 90 days</Button>}>
      <>
        {nameless > 0 && `${plural(nameless, "request")} came without. `}
        Send <code>x-glassline-user: who</code>, or <code>user</code> in the body of a request, and you see here what each of them costs and meets.
      </>
    </EmptyState>
  );
}
