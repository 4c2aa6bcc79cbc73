import { useMemo, useState, type ReactNode } from "react";
import { Link } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { Problem } from "../../lib/api.ts";
import { serverNow } from "../../lib/boot.ts";
import { duration, money, moneyNano, percent, plural, short } from "../../lib/format.ts";
import { pageOf, segment } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { text, useUrlState } from "../../lib/url.ts";
import { Button } from "../../ui/Button.tsx";
import { Card, Facts, Track } from "../../ui/Card.tsx";
import { Select, TextField } from "../../ui/Fields.tsx";
import { EmptyState, ErrorState, Loaded, Skeleton, SkeletonRows } from "../../ui/States.tsx";
import { StatusPill } from "../../ui/Status.tsx";
import { Time } from "../../ui/Time.tsx";
import { TimeChart } from "../../ui/TimeChart.tsx";
import { axisMoney, filterFor } from "../cost/costs.ts";
import { paceChart } from "./pace.ts";
import { keyFilter, levelOf, offered, ownerName, rangeOf, spentShare, windowName, type Budget, type Owned } from "./budget.ts";
import { UsedTrack } from "./BudgetLine.tsx";

interface Spender {
  name: string;
  requests: number;
  cost_nano_usd: number;
}

interface Refusal {
  id: string;
  at: number;
  key: string | null;
  user: string | null;
  model: string | null;
  needed_nano_usd: number;
  room_nano_usd: number;
}

interface Detail {
  budget: Budget;
  scopes: Owned[];
  windows: { window_start: number | null; resets_at: number | null; limit_nano_usd: number; spent_nano_usd: number; overrun_nano_usd: number }[];
  spent: { at: number[]; nano_usd: number[] } | null;
  spenders: Record<string, Spender[]>;
  refusals: Refusal[];
  refused: number;
  refused_of: number;
}

const SCHEMA = { scope: text("", "push"), request: text("", "replace"), limit: text("", "replace") } as const;

/** One budget: where it stands, who spends it, what it refused and why, and what another limit would do. */
export default function BudgetDetail({ name }: { name: string }) {
  const [{ scope, request, limit }, set] = useUrlState(SCHEMA);
  const path = `/api/budgets/${segment(name)}`;
  const answer = useRead<Detail>(path, { scope }, { every: 15_000 });
  const crumbs = [["Budgets", "/budgets"]] as const;
  if (answer.error instanceof Problem && answer.error.status === 404) {
    return (
      <>
        <PageHead title={name} crumbs={crumbs} />
        <EmptyState title={scope ? `Nothing of ${scope} here` : "No such budget"} action={<Link className="btn" href="/budgets">All budgets</Link>}>{answer.error.message}.</EmptyState>
      </>
    );
  }
  return (
    <>
      <PageHead title={name} windowTitle={`${name}, budget`} crumbs={crumbs} />
      <Loaded answer={answer} what="The budget could not be read" skeleton={<SkeletonRows rows={10} />}>
        {(detail) => (
          <>
            <Head detail={detail} scope={scope} onScope={(chosen) => set({ scope: chosen })} />
            <PaceCard detail={detail} />
            <div className="grid c2 budget-parts">
              <div className="grid">
                <SpendersCard detail={detail} />
              </div>
              <div className="grid">
                <Refusals path={path} detail={detail} chosen={request} onChoose={(id) => set({ request: id })} />
                <Simulation path={path} budget={detail.budget} limit={limit} onLimit={(written) => set({ limit: written })} />
                <Windows detail={detail} />
              </div>
            </div>
          </>
        )}
      </Loaded>
    </>
  );
}

function Head({ detail, scope, onScope }: { detail: Detail; scope: string; onScope(scope: string): void }) {
  const { budget, scopes } = detail;
  const level = levelOf(budget);
  return (
    <>
      <section className={`verdict ${level}`}>
        <div className="say">
          <h2>{sentence(budget)}</h2>
          <p className="wire">{ownerName(budget)}; {windowName(budget)}{budget.models.length > 0 && `; models ${budget.models.join(", ")}`}; {budget.is_hard ? "refuses what would pass it" : "warns only"}</p>
        </div>
        {scopes.length > 1 && (
          <div className="act">
            <Select label="Whose" value={budget.scope} options={offered(scopes, budget).map((each) => [each.scope, `${each.scope}, ${moneyNano(each.spent_nano_usd)}`])} onChange={(chosen) => onScope(chosen === scopes[0]?.scope && !scope ? "" : chosen)} />
          </div>
        )}
      </section>
      <div className="columns-of-facts"><Facts
        facts={[
          ["Spent", moneyNano(budget.spent_nano_usd), `${percent(spentShare(budget), 1)} of the limit`],
          ["Reserved", moneyNano(budget.reserved_nano_usd), "for requests under way"],
          ["Left", <span key="left" className={budget.remaining_nano_usd === 0 ? "bad" : ""}>{moneyNano(budget.remaining_nano_usd)}</span>, `of ${moneyNano(budget.limit_nano_usd)}`],
          ["At the end", budget.pace.projected_nano_usd === null ? "–" : moneyNano(budget.pace.projected_nano_usd), `as in the last ${duration(budget.pace.lately_ms)}`],
          ["Resets", budget.resets_at === null ? (budget.rolling_ms === null ? "never" : "bit by bit") : <Time key="resets" ms={budget.resets_at} precision="min" />, budget.resets_at === null ? (budget.rolling_ms === null ? "" : `${duration(budget.rolling_ms)} after it was spent`) : `in ${duration(Math.max(60_000, budget.resets_at - serverNow()))}`],
          ["Overrun", budget.overrun_nano_usd ? <span key="overrun" className="bad">{moneyNano(budget.overrun_nano_usd)}</span> : "$0", "billed beyond what could be reserved"],
        ]}
      /></div>
    </>
  );
}

function sentence(budget: Budget): string {
  const text = budget.pace.text;
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

function PaceCard({ detail }: { detail: Detail }) {
  const { budget, spent } = detail;
  const chart = useMemo(() => (spent ? paceChart(budget, spent, serverNow()) : null), [budget, spent]);
  const recorded = spent?.nano_usd.at(-1) ?? 0;
  const more = budget.spent_nano_usd - recorded;
  const difference = spent && budget.rolling_ms === null && more > 0.02 * budget.limit_nano_usd ? `The ledger counts ${moneyNano(more)} more: a request whose cost nobody could tell is counted at all that was reserved for it.` : "";
  return (
    <Card className="budget-pace" title="Pace" end={<span className="num">{moneyNano(budget.spent_nano_usd)} of {moneyNano(budget.limit_nano_usd)}</span>}>
      <UsedTrack budget={budget} />
      {chart ? (
        <TimeChart
          summary={`Spent so far ${moneyNano(budget.spent_nano_usd)} of ${moneyNano(budget.limit_nano_usd)}; ${budget.pace.text}`}
          times={chart.times}
          series={chart.series}
          height={220}
          format={axisMoney}
          hasLegend={false}
          {...(chart.isLimitShown ? { threshold: { value: budget.limit_nano_usd / 1e9, label: `limit ${moneyNano(budget.limit_nano_usd)}` } } : {})}
        />
      ) : (
        <p className="muted">What each user spent with one key, or on some models, is not summed, so there is no curve.</p>
      )}
      <p className="caption">{chart?.series.some((line) => line.isBefore) && "Dotted blue is where it goes at this rate, dotted grey an even pace. "}The curve is told from records; what is spent and left is the ledger's. {difference} {budget.rolling_ms !== null && "What was spent leaves the window bit by bit."}</p>
    </Card>
  );
}

const TITLES: Record<string, string> = { key: "Keys", model: "Models", user: "Users" };

function SpendersCard({ detail }: { detail: Detail }) {
  const groups = Object.entries(detail.spenders);
  const { budget } = detail;
  const range = rangeOf(budget);
  return (
    <Card title="Who spends" end="in this window, as recorded">
      {groups.length === 0 && <p className="muted">Sums do not tell who spends under this budget.</p>}
      {groups.map(([by, spenders]) => (
        <div key={by} className="spenders">
          <h3>{TITLES[by] ?? by}</h3>
          {spenders.length === 0 && <p className="muted">Nobody yet.</p>}
          <ol>
            {spenders.map((each) => <SpenderLine key={each.name} each={each} by={by} most={spenders[0]?.cost_nano_usd ?? 0} q={keyFilter(budget)} range={range} />)}
          </ol>
        </div>
      ))}
    </Card>
  );
}

function SpenderLine({ each, by, most, q, range }: { each: Spender; by: string; most: number; q: string; range: { from: string } }) {
  const filter = filterFor(by, each.name || null);
  const name = each.name || "(none)";
  return (
    <li>
      {filter === null ? <span className="ellipsis wire">{name}</span> : <Link className="ellipsis wire" href={pageOf.requests(`${q} ${filter}`.trim(), range)}>{name}</Link>}
      <meter className="change-bar" min={0} max={Math.max(1, most)} value={each.cost_nano_usd} aria-hidden="true" />
      <span className="num r" title={plural(each.requests, "request")}>{moneyNano(each.cost_nano_usd)}</span>
    </li>
  );
}

function Refusals({ path, detail, chosen, onChoose }: { path: string; detail: Detail; chosen: string; onChoose(id: string): void }) {
  const { refusals, refused, refused_of: of } = detail;
  return (
    <Card title="Refused" end={`${short(refused)} in this window${of >= 1000 ? ", among the newest 1,000 refusals" : ""}`}>
      {chosen && <Explanation path={path} id={chosen} onClose={() => onChoose("")} />}
      {refusals.length === 0 ? (
        <p className="muted">Nothing was refused in this window.</p>
      ) : (
        <div className="tbl-scroll" tabIndex={0} role="group" aria-label="Refused requests">
          <table className="simple">
            <thead><tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">Model</th><th scope="col" className="r">Needed</th><th scope="col" className="r">Fitted</th><th scope="col"><span className="sr">Why</span></th></tr></thead>
            <tbody>
              {refusals.map((each) => (
                <tr key={each.id}>
                  <th scope="row"><Link href={pageOf.request(each.id)}><Time ms={each.at} /></Link></th>
                  <td className="wire">{[each.key, each.user].filter(Boolean).join(", ") || "(none)"}</td>
                  <td className="wire">{each.model ?? "–"}</td>
                  <td className="r">{moneyNano(each.needed_nano_usd)}</td>
                  <td className="r">{moneyNano(each.room_nano_usd)}</td>
                  <td className="r"><Button size="small" aria-expanded={each.id === chosen} onClick={() => onChoose(each.id === chosen ? "" : each.id)}>Why</Button></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

interface Explained {
  refusal: { id: string; at: number; text: string; budget: string; needed_nano_usd: number; room_nano_usd: number; fits_at: string | null };
  typical: { model: string | null; sample: number; needed_nano_usd: number | null } | null;
  budgets: { budget: string; scope: string; is_hard: boolean; remaining_nano_usd: number; resets_at: number | null; would_refuse: boolean }[];
}

function Explanation({ path, id, onClose }: { path: string; id: string; onClose(): void }) {
  const answer = useRead<Explained>(`${path}/explain`, { request: id }, { fresh: true });
  return (
    <div className="budget-why" role="status">
      <Loaded answer={answer} what="The refusal could not be explained" skeleton={<Skeleton height="80px" />}>
        {({ refusal, typical, budgets }) => (
          <>
            <p className="wire">{refusal.text}</p>
            <p className="muted">
              {refusal.fits_at ? <>It fits again at <Time ms={Date.parse(refusal.fits_at)} precision="min" />. </> : "It does not reset. "}
              A smaller <code>max_tokens</code> needs less.
            </p>
            {typical?.needed_nano_usd != null && <p className="muted">Now a request such as this key makes ({typical.model}) needs {moneyNano(typical.needed_nano_usd)}:</p>}
            <ul>
              {budgets.map((each) => (
                <li key={each.budget + each.scope}>
                  <StatusPill level={each.would_refuse ? "bad" : "ok"}>{each.would_refuse ? "Refuses" : "Admits"}</StatusPill>{" "}
                  <Link className="link wire" href={pageOf.budget(each.budget)}>{each.budget}</Link> <span className="muted num">{moneyNano(each.remaining_nano_usd)} left</span>
                </li>
              ))}
            </ul>
          </>
        )}
      </Loaded>
      <Button size="small" onClick={onClose}>Close</Button>
    </div>
  );
}

interface Simulated {
  requests: number;
  blocked: number;
  blocked_nano_usd: number;
  windows: number;
  windows_hit: number;
}

function Simulation({ path, budget, limit, onLimit }: { path: string; budget: Budget; limit: string; onLimit(limit: string): void }) {
  const [written, setWritten] = useState(limit || String(budget.limit_nano_usd / 1e9));
  const answer = useRead<Simulated>(`${path}/simulate`, { limit_usd: limit }, { enabled: limit !== "" });
  return (
    <Card title="Another limit" end="over the last 30 days">
      <form
        className="budget-simulate"
        onSubmit={(event) => {
          event.preventDefault();
          onLimit(written.trim());
        }}
      >
        <TextField label="Limit in dollars" inputMode="decimal" value={written} onText={setWritten} />
        <Button type="submit">What would it have refused?</Button>
      </form>
      {limit !== "" &&
        (answer.isError ? (
          <ErrorState error={answer.error} what="This could not be told" />
        ) : (
          <Loaded answer={answer} skeleton={<Skeleton height="40px" />}>
            {(found) => <p role="status">{simulatedText(found, limit)}</p>}
          </Loaded>
        ))}
      <p className="caption">Estimated from sums by hour: in the hour in which the limit is reached, requests count in proportion to the money that did not fit.</p>
    </Card>
  );
}

function simulatedText({ requests, blocked, blocked_nano_usd: nano, windows, windows_hit: hit }: Simulated, limit: string): ReactNode {
  if (!requests) return "There were no requests under this budget.";
  if (!blocked && !hit) return <>A limit of {money(Number(limit))} would have refused nothing of {plural(requests, "request")}.</>;
  return (
    <>
      A limit of {money(Number(limit))} would have refused about <b>{plural(blocked, "request")}</b> of {short(requests)} ({percent(blocked / requests)}), which cost {moneyNano(nano)}; it would have been reached in {hit} of {plural(windows, "window")}.
    </>
  );
}

function Windows({ detail }: { detail: Detail }) {
  const { windows, budget } = detail;
  return (
    <Card title="Windows" end={windows.length ? plural(windows.length, "window") : ""}>
      {windows.length === 0 ? (
        <p className="muted">{budget.window_start === null ? "A budget that rolls, or never resets, has one window only." : "The first window begins with the first request."}</p>
      ) : (
        <div className="tbl-scroll" tabIndex={0} role="group" aria-label="Windows">
          <table className="simple">
            <thead><tr><th scope="col">From</th><th scope="col" className="track-cell">Used</th><th scope="col" className="r">Spent</th><th scope="col" className="r">Limit</th><th scope="col" className="r">Overrun</th></tr></thead>
            <tbody>
              {windows.map((each) => {
                const share = each.limit_nano_usd ? each.spent_nano_usd / each.limit_nano_usd : 1;
                return (
                  <tr key={each.window_start}>
                    <th scope="row">{each.window_start !== null && <Time ms={each.window_start} precision="min" />}</th>
                    <td className="track-cell"><Track share={share} level={share >= 1 ? "bad" : share >= 0.8 ? "warn" : "ok"} label="Used" /><span className="caption num">{percent(share, 1)}</span></td>
                    <td className="r">{moneyNano(each.spent_nano_usd)}</td>
                    <td className="r">{moneyNano(each.limit_nano_usd)}</td>
                    <td className="r">{each.overrun_nano_usd ? <span className="bad">{moneyNano(each.overrun_nano_usd)}</span> : ""}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}
