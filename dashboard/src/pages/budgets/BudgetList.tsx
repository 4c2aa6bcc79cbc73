import { useMemo } from "react";
import { Link } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { moneyNano, plural } from "../../lib/format.ts";
import { address, pageOf, query } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { choice, text, useUrlState } from "../../lib/url.ts";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { Select, TextField } from "../../ui/Fields.tsx";
import { EmptyState, Loaded, SkeletonRows } from "../../ui/States.tsx";
import { StatusPill } from "../../ui/Status.tsx";
import { Time } from "../../ui/Time.tsx";
import { BudgetLine, UsedTrack, usedText } from "./BudgetLine.tsx";
import { byUrgency, levelOf, ownerName, usedShare, windowName, type Budget, type Budgets } from "./budget.ts";

const SORTS = { urgency: "Most pressing", used: "Most used", spent: "Most spent", name: "Name" } as const;
type Sort = keyof typeof SORTS;
const SCHEMA = { sort: choice(Object.keys(SORTS) as Sort[], "urgency", "replace"), find: text("", "replace") } as const;
const WORDS = { ok: "On pace", warn: "Tight" } as const;

/** All budgets in their current windows. */
export function BudgetList() {
  const [{ sort, find }, set] = useUrlState(SCHEMA);
  const answer = useRead<Budgets>("/api/budgets", {}, { every: 15_000 });
  return (
    <>
      <PageHead title="Budgets" />
      <Loaded answer={answer} what="Budgets could not be read" skeleton={<SkeletonRows rows={8} />}>
        {({ budgets }) => (budgets.length ? <Listed budgets={budgets} sort={sort} find={find} onChange={set} /> : <NoBudget />)}
      </Loaded>
    </>
  );
}

function Listed({ budgets, sort, find, onChange }: { budgets: readonly Budget[]; sort: Sort; find: string; onChange(patch: { sort?: Sort; find?: string }): void }) {
  const shown = useMemo(() => sorted(budgets.filter((each) => `${each.budget} ${each.scope}`.toLowerCase().includes(find.toLowerCase())), sort), [budgets, sort, find]);
  const pressing = budgets.filter((each) => each.pace.state !== "ok").length;
  return (
    <>
      <p className="budgets-say">
        {plural(budgets.length, "budget")}, {pressing ? <b>{pressing === 1 ? "one needs a look" : `${pressing} need a look`}</b> : "all on pace"}
      </p>
      <div className="cost-tools">
        <TextField label="Find" value={find} onText={(written) => onChange({ find: written })} placeholder="name or user" />
        <Select label="Order" value={sort} options={Object.entries(SORTS) as [Sort, string][]} onChange={(chosen) => onChange({ sort: chosen })} />
      </div>
      <div className="card budgets-table">
        <div className="budget-list narrow">{shown.map((each) => <BudgetLine key={`${each.budget}\u0000${each.scope}`} budget={each} />)}</div>
        <div className="tbl-scroll wide" tabIndex={0} role="group" aria-label="Budgets">
          <table className="simple">
            <thead>
              <tr>
                <th scope="col">Budget</th>
                <th scope="col">State</th>
                <th scope="col" className="track-cell">Used; the mark is the time that is over</th>
                <th scope="col" className="r">Spent</th>
                <th scope="col" className="r">Reserved</th>
                <th scope="col" className="r">Limit</th>
                <th scope="col">At this rate</th>
                <th scope="col" className="r">Resets</th>
              </tr>
            </thead>
            <tbody>{shown.map((each) => <BudgetRow key={`${each.budget}\u0000${each.scope}`} budget={each} />)}</tbody>
          </table>
        </div>
        <div className="tbl-foot">
          <span>{shown.length === budgets.length ? plural(budgets.length, "budget") : `${shown.length} of ${plural(budgets.length, "budget")}`}</span>
          <span className="end no-print">
            <a className="btn small" href={address("/api/budgets.csv")} download>CSV</a>
            <a className="btn small" href={address("/api/budgets.jsonl")} download>JSON lines</a>
            <CopyButton label="Copy API address" text={() => new URL(address("/api/budgets"), location.origin).href} />
          </span>
        </div>
      </div>
    </>
  );
}

function BudgetRow({ budget }: { budget: Budget }) {
  const level = levelOf(budget);
  const href = pageOf.budget(budget.budget) + query({ scope: budget.scope });
  return (
    <tr>
      <th scope="row">
        <Link className="wire" href={href}>{budget.budget}</Link>
        <small className="caption wire">{ownerName(budget)}; {windowName(budget)}{budget.is_hard ? "" : "; only warns"}</small>
      </th>
      <td><StatusPill level={level}>{level === "bad" ? (budget.is_hard ? (budget.pace.text.startsWith("refuses") ? "Refuses" : "Spent") : "Passed") : WORDS[level]}</StatusPill></td>
      <td className="track-cell">
        <UsedTrack budget={budget} />
        <span className="caption num">{usedText(budget)}</span>
      </td>
      <td className="r">{moneyNano(budget.spent_nano_usd)}</td>
      <td className="r">{budget.reserved_nano_usd ? moneyNano(budget.reserved_nano_usd) : ""}</td>
      <td className="r">{moneyNano(budget.limit_nano_usd)}</td>
      <td className={level === "ok" ? "muted" : level}>{budget.pace.text}</td>
      <td className="r muted nowrap">{budget.resets_at === null ? (budget.rolling_ms === null ? "never" : "bit by bit") : <Time ms={budget.resets_at} precision="min" />}</td>
    </tr>
  );
}

function sorted(budgets: readonly Budget[], sort: Sort): Budget[] {
  const orders: Record<Sort, (one: Budget, other: Budget) => number> = {
    urgency: byUrgency,
    used: (one, other) => usedShare(other) - usedShare(one),
    spent: (one, other) => other.spent_nano_usd - one.spent_nano_usd,
    name: (one, other) => one.budget.localeCompare(other.budget) || one.scope.localeCompare(other.scope),
  };
  return budgets.toSorted(orders[sort]);
}

const EXAMPLE = `budgets:
  - {name: everything, limit_usd: 500, window: month}
keys:
  - name: search-team
    key: \${SEARCH_TEAM_KEY}
    budgets:
      - {limit_usd: 25, window: day}`;

function NoBudget() {
  return (
    <EmptyState title="No budget yet" action={<CopyButton text={EXAMPLE} label="Copy the example" />}>
      A budget refuses what would pass it, before it is sent. Give a new <Link className="link" href="/keys">key</Link> one, or write it into the configuration:
      <pre className="budget-example">{EXAMPLE}</pre>
    </EmptyState>
  );
}
