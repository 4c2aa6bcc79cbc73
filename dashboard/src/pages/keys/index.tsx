import { lazy, Suspense, useMemo, useState } from "react";
import { useLocation, useParams } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { may } from "../../lib/boot.ts";
import { count, moneyNano } from "../../lib/format.ts";
import { useCommands } from "../../lib/keys.ts";
import { pageOf, readSegment } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { choice, flag, text, useUrlState } from "../../lib/url.ts";
import { Button } from "../../ui/Button.tsx";
import { Track } from "../../ui/Card.tsx";
import { Segments } from "../../ui/Fields.tsx";
import { EmptyState, Loaded, SkeletonRows } from "../../ui/States.tsx";
import { StatusPill } from "../../ui/Status.tsx";
import { Table, type Column } from "../../ui/Table.tsx";
import { Time } from "../../ui/Time.tsx";
import type { Draft } from "../playground/draft.ts";
import { maskOf, windowWords, type Key, type Keys } from "./model.ts";
import { Panel } from "./Panel.tsx";
import "./keys.css";

const Create = lazy(() => import("./Create.tsx"));
const Change = lazy(() => import("./Create.tsx").then((module) => ({ default: module.Change })));

const STATE = {
  q: text(""),
  show: choice(["living", "revoked", "all"], "living"),
  sort: text("name"),
  new: flag(false, "replace"),
} as const;

export default function KeysPage() {
  const [, setState] = useUrlState(STATE);
  const answer = useRead<Keys>("/api/keys", {}, { every: 15_000 });
  return (
    <>
      <PageHead title="Keys" tools={may("editor") && <Button kind="primary" icon="plus" onClick={() => setState({ new: true })}>New key</Button>} />
      <Loaded answer={answer} what="The keys could not be read" skeleton={<SkeletonRows rows={8} />}>
        {(found) => <List keys={found.keys} auth={found.auth} />}
      </Loaded>
    </>
  );
}

function List({ keys, auth }: { keys: readonly Key[]; auth: "passthrough" | "virtual" }) {
  const [state, setState] = useUrlState(STATE);
  const [, navigate] = useLocation();
  const { name } = useParams<{ name?: string }>();
  const chosen = name ? readSegment(name) : null;
  const [isChanging, setChanging] = useState(false);
  const offered = useRead<Draft>("/api/playground", {}, { enabled: may("editor") });
  const models = offered.data?.models ?? [];
  const upstreams = (offered.data?.upstreams ?? []).map((each) => each.name);

  const rows = useMemo(() => chosenRows(keys, state), [keys, state]);
  const stored = keys.filter((key) => key.name === chosen).toSorted((one, other) => Number(one.revoked_ms !== null) - Number(other.revoked_ms !== null))[0];
  const open = (to: string | null) => navigate((to === null ? "/keys" : pageOf.key(to)) + location.search, { replace: true });
  const step = (by: number) => {
    const at = rows.findIndex((row) => row.name === chosen);
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
    if (next) open(next.name);
  };
  useCommands([
    { keys: "j", title: "Next key", group: "Keys of callers", run: () => step(1) },
    { keys: "k", title: "Previous key", group: "Keys of callers", run: () => step(-1) },
    { keys: "Escape", title: "Close", group: "Keys of callers", run: () => open(null) },
    ...(may("editor") ? [{ keys: "n", title: "New key", group: "Keys of callers", run: () => setState({ new: true }) }] : []),
  ]);
  const revoked = keys.filter((key) => key.revoked_ms !== null).length;

  return (
    <>
      <div className="ky-keys-bar">
        <label className="sr" htmlFor="keys-q">Search keys</label>
        <input id="keys-q" className="input" type="search" placeholder="Search names, models and tags" value={state.q} onChange={(event) => setState({ q: event.target.value }, "replace")} />
        {revoked > 0 && <Segments label="Which keys" value={state.show} options={[["living", "In force"], ["revoked", `Revoked ${revoked}`], ["all", "All"]]} onChange={(show) => setState({ show })} />}
        <p className="caption">{auth === "virtual" ? "Only these keys are taken." : "Other callers' own provider keys pass, too: auth is passthrough."}</p>
      </div>
      {keys.length === 0 ? (
        <EmptyState title="No key yet" action={may("editor") && <Button kind="primary" onClick={() => setState({ new: true })}>Make the first key</Button>}>
          A key tells applications apart, limits what each may spend, and keeps the provider&rsquo;s own key out of them.
        </EmptyState>
      ) : rows.length === 0 ? (
        <EmptyState title="No key like this" action={<Button onClick={() => setState({ q: "", show: "all" })}>Show all keys</Button>}>
          {state.q ? `None of ${keys.length} has "${state.q}" in its name, models or tags.` : "None is revoked."}
        </EmptyState>
      ) : (
        <div className="ky-keys-split" data-open={stored !== undefined}>
          <div className="card ky-list">
            <Table label="Keys" columns={COLUMNS} rows={rows} rowKey={(row) => `${row.name} ${row.created_ms ?? 0}`} selected={stored ? `${stored.name} ${stored.created_ms ?? 0}` : null} onPress={(row) => open(row.name === chosen ? null : row.name)} sort={state.sort} onSort={(sort) => setState({ sort })} minWidth={stored ? 620 : 860} rowHeight={40} height={`min(70vh, ${rows.length * 40 + 34}px)`} />
          </div>
          {stored && <Panel stored={stored} auth={auth} models={models} onClose={() => open(null)} onChange={() => setChanging(true)} />}
        </div>
      )}
      {chosen && !stored && <EmptyState title="There is no such key">{chosen} is neither in the configuration nor made at run time.</EmptyState>}
      <Suspense>
        {state.new && may("editor") && <Create upstreams={upstreams} models={models} onClose={() => setState({ new: false })} onMade={(made) => { setState({ new: false }); setTimeout(() => open(made)); }} />}
        {isChanging && stored && <Change stored={stored} upstreams={upstreams} onClose={() => setChanging(false)} />}
      </Suspense>
    </>
  );
}

const ORDERS: Readonly<Record<string, (key: Key) => number | string>> = {
  name: (key) => key.name.toLowerCase(),
  month: (key) => key.use.cost_month_nano_usd,
  requests: (key) => key.use.requests_30d,
  used: (key) => key.use.last_used_ms ?? 0,
};

function chosenRows(keys: readonly Key[], { q, show, sort }: { q: string; show: string; sort: string }): Key[] {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const isDown = sort.startsWith("-");
  const order = ORDERS[sort.replace("-", "")] ?? ((key: Key) => key.name);
  return keys
    .filter((key) => show === "all" || (key.revoked_ms === null) === (show === "living"))
    .filter((key) => words.every((word) => `${key.name} ${key.models.join(" ")} ${key.upstreams.join(" ")} ${Object.entries(key.tags).flat().join(" ")}`.toLowerCase().includes(word)))
    .toSorted((one, other) => {
      const [first, second] = [order(one), order(other)];
      const found = first < second ? -1 : first > second ? 1 : 0;
      return isDown ? -found : found;
    });
}

const COLUMNS: readonly Column<Key>[] = [
  { id: "name", title: "Name", sort: "name", width: 180, cell: (key) => <b className="wire ellipsis">{key.name}</b> },
  { id: "key", title: "Key", width: 96, cell: (key) => <code className="mono muted">{maskOf(key)}</code> },
  { id: "budget", title: "Tightest budget", width: 250, cell: (key) => <Tightest stored={key} /> },
  { id: "models", title: "Models", cell: (key) => <span className="wire ellipsis">{key.models.join(", ") || "all"}</span> },
  { id: "month", title: "This month", sort: "month", width: 112, align: "right", cell: (key) => moneyNano(key.use.cost_month_nano_usd) },
  { id: "requests", title: "30 days", sort: "requests", width: 84, align: "right", cell: (key) => count(key.use.requests_30d) },
  { id: "used", title: "Last used", sort: "used", width: 104, align: "right", cell: (key) => (key.use.last_used_ms ? <Time ms={key.use.last_used_ms} isRelative /> : <span className="muted">never</span>) },
  { id: "state", title: "State", width: 110, cell: (key) => <State stored={key} /> },
];

/** How much of a budget is used, at most 1. */
function used(key: Key, at: number): number {
  const limit = Number(key.budgets[at]?.limit_usd ?? 0) * 1e9;
  const account = key.accounts[at];
  return limit ? ((account?.spent_nano_usd ?? 0) + (account?.reserved_nano_usd ?? 0)) / limit : 1;
}

function Tightest({ stored }: { stored: Key }) {
  const at = stored.budgets.reduce((most, _, index) => (used(stored, index) > used(stored, most) ? index : most), 0);
  const budget = stored.budgets[at];
  if (!budget) return <span className="muted">no limit</span>;
  const share = used(stored, at);
  return (
    <span className="ky-tightest">
      <span className="num ellipsis">{moneyNano((stored.accounts[at]?.spent_nano_usd ?? 0) + (stored.accounts[at]?.reserved_nano_usd ?? 0))} of {moneyNano(Number(budget.limit_usd) * 1e9)} {windowWords(budget)}</span>
      <Track share={share} level={share >= 1 ? "bad" : share >= 0.8 ? "warn" : "ok"} label={`Used of the budget of ${stored.name}`} />
    </span>
  );
}

function State({ stored }: { stored: Key }) {
  if (stored.revoked_ms !== null) return <StatusPill level="none">Revoked</StatusPill>;
  if (stored.budgets.some((budget, at) => budget.hard && used(stored, at) >= 1)) return <StatusPill level="bad">Used up</StatusPill>;
  if (stored.budgets.some((_, at) => used(stored, at) >= 0.8)) return <StatusPill level="warn">Nearly</StatusPill>;
  return <StatusPill level="ok">{stored.origin === "config" ? "Config" : "In force"}</StatusPill>;
}
