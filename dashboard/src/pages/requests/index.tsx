/** Requests: every call, found, counted, followed and looked at. */
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState, type MouseEvent } from "react";
import { useLocation, useSearch } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { TimeRange } from "../../app/TimeRange.tsx";
import { Problem } from "../../lib/api.ts";
import { serverNow } from "../../lib/boot.ts";
import { count, duration, moneyNano, plural } from "../../lib/format.ts";
import { useCommands } from "../../lib/keys.ts";
import { pageOf, query, type Params } from "../../lib/path.ts";
import { useMore } from "../../lib/listed.ts";
import { useRead } from "../../lib/queries.ts";
import { flag, text, timeParams, useUrlState, words } from "../../lib/url.ts";
import { useZone } from "../../lib/zone.ts";
import { Button } from "../../ui/Button.tsx";
import { ErrorState, SkeletonRows, Unread } from "../../ui/States.tsx";
import { Table } from "../../ui/Table.tsx";
import { BulkBar } from "./BulkBar.tsx";
import { cardColumn, columnsOf, fitting, fullBar, isColumn, STANDARD, widthOf, type Scene } from "./columns.tsx";
import { Empty, NotUnderstood, type Count } from "./Empty.tsx";
import { ExportMenu } from "./ExportMenu.tsx";
import { FilterBar } from "./FilterBar.tsx";
import { hasTerm, toggled, withTerm } from "./filter.ts";
import { Histogram } from "./Histogram.tsx";
import { useLive } from "./live.ts";
import { Peek } from "./Peek.tsx";
import { merged, usePreviews, useRequests, type RequestRow } from "./rows.ts";
import { SavedViews, type View } from "./SavedViews.tsx";
import "./requests.css";

const ColumnsDialog = lazy(() => import("./ColumnsDialog.tsx"));
const RequestPeek = lazy(() => import("../request/RequestPeek.tsx"));

const FAILED = "failed:true";
const REFRESH_MS = 15_000;
const CARD_PX = 58;
/** The sidebar and the padding of the page. */
const SIDE_PX = 208 + 24 + 20;
const SCHEMA = {
  q: text(),
  ...timeParams("now-24h"),
  sort: text("-time"),
  cols: words(STANDARD, "replace"),
  widths: words([], "replace"),
  view: text("", "replace"),
  sel: text("", "replace"),
  live: flag(),
  highlight: text("", "replace"),
} as const;
/** What a saved view does not keep. */
const PASSING = ["view", "sel", "live", "highlight", "widths"];

export default function RequestsPage() {
  const [state, set] = useUrlState(SCHEMA);
  const search = useSearch();
  const [, navigate] = useLocation();
  const zone = useZone();
  const { q, from, to, sort, sel } = state;
  const cols = state.cols.some(isColumn) ? state.cols.filter(isColumn) : STANDARD;
  const span = useMemo<Params>(() => ({ from, to: to === "now" ? "" : to }), [from, to]);
  const params = useMemo<Params>(() => ({ q, ...span, sort: sort === "-time" ? "" : sort }), [q, span, sort]);

  const asked = useMemo<Params>(() => ({ q, ...span }), [q, span]);

  const list = useRequests(params);
  const { restart } = list;
  const onEnd = useMore(list);
  const isFollowable = to === "now" && sort === "-time";
  const isFollowing = state.live && isFollowable && !sel;
  const badFilter = list.error instanceof Problem && list.error.code === "bad_filter" ? list.error : null;
  // A filter is first understood by the list; what else is asked about it waits for that.
  const isUnderstood = list.data !== undefined && !list.isPlaceholderData;
  const pages = list.data?.pages;
  // Where there is nothing to read, nothing can be moved.
  const isEmpty = isUnderstood && pages?.[0]?.requests.length === 0;
  // One stream for a list, from where it was first read.
  const began = useRef<{ params: Params; newest: number } | null>(null);
  if (isUnderstood && pages?.[0] && began.current?.params !== params) began.current = { params, newest: pages[0].newest };
  const live = useLive(q, isFollowable && isUnderstood && began.current ? began.current.newest : null, isFollowing || isEmpty, restart);
  const rows = useMemo(() => merged(live.fresh, pages?.flatMap((page) => page.requests) ?? []), [live.fresh, pages]);
  const previewOf = usePreviews(rows, cols.includes("message"));
  const refresh = isFollowable ? { every: REFRESH_MS } : {};
  const counted = useRead<Count>("/api/requests/count", asked, { ...refresh, enabled: isUnderstood });
  const { lit, problem } = useHighlighted(q, span, state.highlight, rows.length);

  const [marked, setMarked] = useState<readonly string[]>([]);
  const markedSet = useMemo(() => new Set(marked), [marked]);
  const [lastMarked, setLastMarked] = useState<string | null>(null);
  const [dialog, setDialog] = useState(false);
  const widths = useMemo(() => Object.fromEntries(state.widths.map((each) => each.split(":")).map(([id, width]) => [id ?? "", Number(width)])), [state.widths]);
  const mostMs = useMemo(() => fullBar(rows), [rows]);
  const scene = useMemo<Scene>(() => ({ zone, now: serverNow(), mostMs, previewOf }), [zone, mostMs, previewOf]);
  const room = useRoom();
  const shown = sel ? fitting(cols, widths, room.beside) : cols;
  const columns = room.isPhone ? cardColumn(scene) : columnsOf(shown, scene);

  const at = sel ? rows.findIndex((row) => row.id === sel) : -1;
  const select = useCallback((row: RequestRow | undefined) => row && set({ sel: row.id }), [set]);
  const step = (by: number) => select(rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))]);
  const mark = (id: string) => {
    setMarked((before) => (before.includes(id) ? before.filter((each) => each !== id) : [...before, id]));
    setLastMarked(id);
  };
  const onPress = (row: RequestRow, event: MouseEvent) => {
    if (event.shiftKey) {
      getSelection()?.removeAllRanges();
      const [first, last] = [lastMarked ?? sel, row.id].map((id) => rows.findIndex((each) => each.id === id)) as [number, number];
      const range = first < 0 ? [row.id] : rows.slice(Math.min(first, last), Math.max(first, last) + 1).map((each) => each.id);
      setMarked((before) => [...new Set([...before, ...range])]);
      setLastMarked(row.id);
    } else if (event.metaKey || event.ctrlKey) mark(row.id);
    else set({ sel: row.id === sel ? "" : row.id });
  };
  useEffect(() => {
    setMarked([]);
    setLastMarked(null);
  }, [params]);

  useCommands([
    { keys: "j, ArrowDown", title: "Next request", group: "List", run: () => step(1) },
    { keys: "k, ArrowUp", title: "Previous request", group: "List", run: () => step(-1) },
    { keys: "x", title: "Choose the request", group: "List", run: () => rows[Math.max(0, at)] && mark((rows[Math.max(0, at)] as RequestRow).id) },
    { keys: ".", title: "Show new requests", group: "List", run: live.show },
    { keys: "l", title: "Follow live", group: "List", run: () => set({ live: !state.live }) },
  ]);
  useCommands(
    [
      { keys: "Enter", title: "Open the request", group: "List", run: () => sel && navigate(pageOf.request(sel) + listed(asked, sort)) },
      { keys: "Escape", title: "Close the request", group: "List", run: () => set({ sel: "" }) },
    ],
    sel !== "",
  );

  const kept = useMemo(() => search.split("&").filter((part) => part && !PASSING.includes(part.split("=")[0] ?? "")).join("&"), [search]);
  const open = (view: View) => navigate(pageOf.view(view));
  const zoom = useCallback((first: number, last: number) => set({ from: String(first), to: String(last) }), [set]);
  const resize = (id: string, width: number) => set({ widths: [...state.widths.filter((each) => !each.startsWith(`${id}:`)), `${id}:${width}`] });

  const slow = counted.data?.slow_filter ?? "latency:>8s";
  const isShown = rows.length > 0;
  return (
    <div className={`requests${sel ? " has-peek" : ""}`}>
      <PageHead
        title="Requests"
        isFull
        tools={
          <>
            <LiveButton state={live.state} isFollowing={state.live} isFollowable={isFollowable} onChange={(isOn) => set({ live: isOn, ...(isOn && !isFollowable ? { to: "now", sort: "-time" } : {}) })} />
            <TimeRange range={{ from, to }} onChange={(range) => set(range)} />
            <ExportMenu params={params} cols={cols} />
          </>
        }
      />
      <div className="filter-row">
        <FilterBar q={q} span={span} error={list.error} onChange={(changed) => set({ q: changed })} />
        <Button aria-pressed={hasTerm(q, FAILED)} onClick={() => set({ q: toggled(q, FAILED) })}>Errors <Quick counted={counted.data} what="failed" /></Button>
        <Button aria-pressed={hasTerm(q, slow)} onClick={() => set({ q: toggled(q, slow) })}>Slow <Quick counted={counted.data} what="slow" /></Button>
        <SavedViews current={state.view} query={kept} onView={open} />
        <Button className="hide-s" hasCaret aria-haspopup="dialog" onClick={() => setDialog(true)}>Columns</Button>
      </div>
      {state.live && isFollowable && <Highlight value={state.highlight} onChange={(highlight) => set({ highlight })} problem={problem} sample={live.sample} />}
      {(!badFilter || isShown) && <Histogram params={asked} isOn={isUnderstood} onZoom={zoom} {...refresh} />}
      {badFilter && !isShown && <NotUnderstood q={q} problem={badFilter} onFilter={(changed) => set({ q: changed })} />}
      <NewBar waiting={live.waiting} onShow={live.show} />
      {list.isError && !badFilter && !isShown && <ErrorState error={list.error} what="The list could not be read" onRetry={() => void list.refetch()} />}
      {list.isPending && <SkeletonRows rows={20} />}
      {isShown && (
        <div className="requests-list" data-stale={list.isPlaceholderData || badFilter !== null}>
          <Table
            key={room.isPhone ? "cards" : "table"}
            label="Requests"
            columns={columns}
            rows={rows}
            rowKey={rowKey}
            total={totalOf(counted.data, rows.length)}
            sort={sort}
            onSort={(changed) => set({ sort: changed })}
            selected={sel || null}
            marked={markedSet}
            onPress={onPress}
            rowClass={(row) => [row.outcome === "refused" ? "refused" : "", lit.has(row.id) ? "lit" : ""].join(" ")}
            widths={widths}
            onEnd={onEnd}
            {...(room.isPhone ? { rowHeight: CARD_PX } : { minWidth: widthOf(shown, widths), onWidth: resize })}
            isBusy={list.isFetching}
            foot={<Foot shown={rows.length} counted={counted.data} ms={pages?.at(-1)?.ms} searchedTo={pages?.at(-1)?.searched_to ?? null} isMore={list.isFetchingNextPage} />}
          />
          <Unread list={list} />
        </div>
      )}
      {!isShown && list.isSuccess && !list.isPlaceholderData && <Empty q={q} span={span} onFilter={(changed) => set({ q: changed })} onAnyTime={() => set({ from: "now-90d", to: "now" })} />}
      {sel && (
        <Peek id={sel} href={pageOf.request(sel) + listed(asked, sort)} onPrevious={at > 0 ? () => step(-1) : null} onNext={at < rows.length - 1 ? () => step(1) : null} onClose={() => set({ sel: "" })}>
          <Suspense fallback={<SkeletonRows rows={14} />}>
            <RequestPeek id={sel} />
          </Suspense>
        </Peek>
      )}
      {marked.length > 0 && <BulkBar ids={marked} cols={cols} onClear={() => setMarked([])} />}
      {dialog && (
        <Suspense>
          <ColumnsDialog columns={cols} onChange={(changed) => set({ cols: changed })} onClose={() => setDialog(false)} />
        </Suspense>
      )}
    </div>
  );
}

/** How much room there is: for a table at all, and for one beside an open request. */
function useRoom(): { isPhone: boolean; beside: number } {
  const [width, setWidth] = useState(innerWidth);
  useEffect(() => {
    const onResize = () => setWidth(innerWidth);
    addEventListener("resize", onResize);
    return () => removeEventListener("resize", onResize);
  }, []);
  return { isPhone: width <= 760, beside: width > 1080 ? width - Math.min(width / 2, 860) - SIDE_PX : Number.POSITIVE_INFINITY };
}

/** What the page of one request needs to know to go on through the list. */
function listed(asked: Params, sort: string): string {
  return query({ ...asked, sort: sort === "-time" ? "" : sort });
}

const rowKey = (row: RequestRow) => row.id;

/** Which rows a second filter means, without hiding the others. */
function useHighlighted(q: string, span: Params, highlight: string, shown: number): { lit: ReadonlySet<string>; problem: string | null } {
  const both = highlight.trim() ? withTerm(q, highlight) : "";
  const found = useRead<{ requests: RequestRow[] }>("/api/requests", { q: both, ...span, limit: 500 }, { enabled: both !== "" && shown > 0, every: 2_000 });
  const lit = useMemo(() => new Set(both ? (found.data?.requests ?? []).map((row) => row.id) : []), [both, found.data]);
  return { lit, problem: both && found.error ? found.error.message.replace(/(; fields: .*)? \(at character \d+\)$/, "") : null };
}

function LiveButton({ state, isFollowing, isFollowable, onChange }: { state: string; isFollowing: boolean; isFollowable: boolean; onChange(isOn: boolean): void }) {
  const isLive = isFollowing && isFollowable;
  const said = !isFollowable ? "Live" : state === "paused" ? "Paused" : state === "reconnecting" ? "Reconnecting" : "Live";
  return (
    <Button aria-pressed={isLive} aria-keyshortcuts="l" title={isFollowable ? undefined : "Shows the newest first, up to now"} onClick={() => onChange(!isLive)}>
      <span className={`dot ${!isFollowable || state === "off" ? "off" : state === "live" ? "" : "warn"}`} />
      {said}
    </Button>
  );
}

function Quick({ counted, what }: { counted: Count | undefined; what: "failed" | "slow" }) {
  return <span className="count">{counted ? `${counted.is_exact ? "" : "≥ "}${count(counted[what])}` : "…"}</span>;
}

function Highlight({ value, onChange, problem, sample }: { value: string; onChange(value: string): void; problem: string | null; sample: readonly [number, number] | null }) {
  const [typed, setTyped] = useState(value);
  return (
    <form className="highlight" onSubmit={(event) => { event.preventDefault(); onChange(typed.trim()); }}>
      <label>
        <span>Highlight</span>
        <input className="input" value={typed} placeholder="such as cost:>$0.01: colours rows, hides none" spellCheck={false} autoCapitalize="off" onChange={(event) => setTyped(event.target.value)} onBlur={() => onChange(typed.trim())} />
      </label>
      {problem && <span className="bad wire" role="alert">{problem}</span>}
      {sample && <span className="warn num" role="status">More than can be followed: showing {count(sample[0])} of {count(sample[1])}</span>}
    </form>
  );
}

/** How many wait; read aloud now and then, and not with each one. */
function NewBar({ waiting, onShow }: { waiting: number; onShow(): void }) {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!waiting) {
      setSaid("");
      return undefined;
    }
    const timer = setTimeout(() => setSaid(`${plural(waiting, "new request")}, press . to show`), said ? 10_000 : 0);
    return () => clearTimeout(timer);
  }, [waiting, said]);
  return (
    <>
      <span className="sr" role="status">{said}</span>
      {waiting > 0 && (
        <button type="button" className="new-bar num" onClick={onShow}>
          {plural(waiting, "new request")}, <span className="by-key">press <kbd>.</kbd></span><span className="by-hand">tap</span> to show
        </button>
      )}
    </>
  );
}

function totalOf(counted: Count | undefined, shown: number): number {
  return counted?.is_exact ? Math.max(counted.requests, shown) : shown + 1;
}

function Foot({ shown, counted, ms, searchedTo, isMore }: { shown: number; counted: Count | undefined; ms: number | undefined; searchedTo: number | null; isMore: boolean }) {
  const total = !counted ? "" : counted.is_exact ? ` of ${count(Math.max(shown, counted.requests))}` : counted.requests > counted.most_counted ? ` of over ${count(counted.most_counted)}` : ` of at least ${count(counted.requests)}`;
  return (
    <>
      <span>Showing {shown > 1 ? "1 to " : ""}{count(shown)}{total}{isMore ? ", loading more" : ""}</span>
      {counted && <span>{moneyNano(counted.cost_nano_usd)} {counted.is_exact ? "in this view" : `in the newest ${count(counted.requests)}`}{counted.unpriced > 0 ? `, ${count(counted.unpriced)} without a price` : ""}</span>}
      {searchedTo !== null && <span className="warn">The list ends where the time to look was over: narrow it</span>}
      {ms !== undefined && <span className="end" data-volatile>{duration(ms)}</span>}
    </>
  );
}
