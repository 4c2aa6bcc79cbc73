/** In whose name requests are sent: who costs most, who meets errors, who was here last. */
import { Link } from "wouter";
import { count, moneyNano, NONE, percent, plural, short } from "../../lib/format.ts";
import { pageOf, query, type Params } from "../../lib/path.ts";
import { vars } from "../../lib/vars.ts";
import { Button } from "../../ui/Button.tsx";
import { EmptyState } from "../../ui/States.tsx";
import type { Column } from "../../ui/Table.tsx";
import { Money, Time } from "../../ui/Time.tsx";
import { GroupedList, groupedSchema, SearchedTo, useGrouped } from "../requests/Grouped.tsx";
import { costOf, eachOf, type User, type UserPage } from "./api.ts";
import "./users.css";

const SCHEMA = groupedSchema("now-30d", "-cost");
const rowsOf = (page: UserPage) => page.users;

export default function UsersPage() {
  const grouped = useGrouped("/api/users", SCHEMA, rowsOf);
  const { state, set, span, list, rows, first } = grouped;
  const { from, to, q } = state;
  const range = query({ from: from === "now-30d" ? "" : from, to: to === "now" ? "" : to });
  const hrefOf = (row: User) => pageOf.user(row.id) + range;
  const most = Math.max(1, ...rows.map((row) => row.cost_nano_usd));
  return (
    <GroupedList
      grouped={grouped}
      title="Users"
      columns={columns(hrefOf, most)}
      minWidth={860}
      card={(row) => <Card user={row} href={hrefOf(row)} />}
      cardHeight={58}
      hrefOf={hrefOf}
      foot={<Foot shown={rows.length} page={first} q={q} span={span} isMore={list.isFetchingNextPage} />}
      empty={<Nobody q={q} page={first} onClear={() => set({ q: "" })} onAnyTime={from === "now-90d" ? null : () => set({ from: "now-90d", to: "now" })} />}
    />
  );
}

function columns(hrefOf: (row: User) => string, most: number): Column<User>[] {
  return [
    { id: "user", title: "User", cell: (row) => <Link href={hrefOf(row)} className="wire">{row.id}</Link> },
    {
      id: "cost",
      title: "Cost",
      width: 210,
      align: "right",
      sort: "cost",
      cell: (row) => <span className="cost-bar"><i aria-hidden="true" style={vars({ share: `${(row.cost_nano_usd / most) * 100}%` })} /><Money nano={costOf(row)} /></span>,
    },
    { id: "requests", title: "Requests", width: 104, align: "right", sort: "requests", cell: (row) => <span title={count(row.requests)}>{short(row.requests)}</span> },
    { id: "each", title: "Per request", width: 104, align: "right", cell: (row) => <span className="muted">{eachOf(row) === null ? NONE : moneyNano(eachOf(row))}</span> },
    { id: "errors", title: "Errors", width: 132, align: "right", sort: "errors", cell: (row) => <Errors user={row} /> },
    { id: "tokens", title: "Tokens", width: 140, align: "right", sort: "tokens", cell: (row) => <span title={`${count(row.input_tokens)} in, ${count(row.output_tokens)} out`}>{short(row.input_tokens)} <span className="muted">→ {short(row.output_tokens)}</span></span> },
    { id: "last", title: "Last seen", width: 124, align: "right", sort: "last", cell: (row) => (row.last_at === null ? <span className="faint" title="The requests are not stored any more">{NONE}</span> : <Time ms={row.last_at} isRelative />) },
  ];
}

/** On a phone: the whole user in one cell. */
function Card({ user, href }: { user: User; href: string }) {
  return (
    <div className="card-row">
      <span className="card-line"><Link href={href} className="wire ellipsis grow">{user.id}</Link><Money nano={costOf(user)} /></span>
      <span className="card-line muted">
        <span className="grow">{plural(user.requests, "request")}</span>
        {user.errors > 0 && <span className="bad">{plural(user.errors, "error")}</span>}
        {user.last_at !== null && <Time ms={user.last_at} isRelative />}
      </span>
    </div>
  );
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
      <SearchedTo page={page} />
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
