import { Link } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { count, moneyNano, plural } from "../../lib/format.ts";
import { address, pageOf, query, type Params } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { choice, text, useUrlState, whole } from "../../lib/url.ts";
import { Button } from "../../ui/Button.tsx";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { Select, TextField } from "../../ui/Fields.tsx";
import { EmptyState, Loaded, SkeletonRows } from "../../ui/States.tsx";
import { StatusPill } from "../../ui/Status.tsx";
import { Time } from "../../ui/Time.tsx";
import { usePhone } from "../../ui/usePhone.ts";
import { BudgetLine, UsedTrack, usedText } from "./BudgetLine.tsx";
import { levelOf, ownerName, windowName, type Budget, type Budgets } from "./budget.ts";

const SORTS = { urgency: "Most pressing", used: "Most used", spent: "Most spent", name: "Name" } as const;
type Sort = keyof typeof SORTS;
const SHOWN = 100;
const MOST_SHOWN = 1_000;
const SCHEMA = { sort: choice(Object.keys(SORTS) as Sort[], "urgency"), find: text("", "replace"), limit: whole(SHOWN, "replace") } as const;
const WORDS = { ok: "On pace", warn: "Tight" } as const;

/** All budgets in their current windows. */
export function BudgetList() {
  const [{ sort, find, limit }, set] = useUrlState(SCHEMA);
  const asked: Params = { find, sort: sort === "urgency" ? "" : sort };
  const shown = Math.min(Math.max(1, limit), MOST_SHOWN);
  const answer = useRead<Budgets>("/api/budgets", { ...asked, limit: shown }, { every: 15_000 });
  return (
    <>
      <PageHead title="Budgets" />
      <Loaded answer={answer} what="Budgets could not be read" skeleton={<SkeletonRows rows={8} />}>
        {(found) => (found.count || find ? <Listed found={found} asked={asked} sort={sort} find={find} onChange={set} /> : <NoBudget />)}
      </Loaded>
    </>
  );
}

interface ListedProps {
  found: Budgets;
  asked: Params;
  sort: Sort;
  find: string;
  onChange(patch: { sort?: Sort; find?: string; limit?: number }): void;
}

function Listed({ found: { budgets, count: many, pressing }, asked, sort, find, onChange }: ListedProps) {
  const isPhone = usePhone();
  return (
    <>
      <p className="budgets-say">
        {many === 0 ? "None is named so" : <>{plural(many, "budget")}, {pressing ? <b>{pressing === 1 ? "one needs a look" : `${count(pressing)} need a look`}</b> : "all on pace"}</>}
      </p>
      <div className="cost-tools">
        <TextField label="Find" value={find} onText={(written) => onChange({ find: written })} placeholder="name or user" />
        <Select label="Order" value={sort} options={Object.entries(SORTS) as [Sort, string][]} onChange={(chosen) => onChange({ sort: chosen })} />
      </div>
      <div className="card budgets-table">
        {isPhone ? <div className="budget-list">{budgets.map((each) => <BudgetLine key={keyOf(each)} budget={each} />)}</div> : <BudgetTable budgets={budgets} />}
        <div className="tbl-foot">
          <span>{budgets.length === many ? plural(many, "budget") : `${count(budgets.length)} of ${plural(many, "budget")}`}</span>
          {budgets.length < Math.min(many, MOST_SHOWN) && <Button size="small" onClick={() => onChange({ limit: MOST_SHOWN })}>Show {many > MOST_SHOWN ? count(MOST_SHOWN) : "all"}</Button>}
          <span className="end no-print">
            <a className="btn small" href={address("/api/budgets.csv", asked)} download>CSV</a>
            <a className="btn small" href={address("/api/budgets.jsonl", asked)} download>JSON lines</a>
            <CopyButton label="Copy API address" text={() => new URL(address("/api/budgets", asked), location.origin).href} />
          </span>
        </div>
      </div>
    </>
  );
}

function BudgetTable({ budgets }: { budgets: readonly Budget[] }) {
  return (
    <div className="tbl-scroll" tabIndex={0} role="group" aria-label="Budgets">
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
        <tbody>{budgets.map((each) => <BudgetRow key={keyOf(each)} budget={each} />)}</tbody>
      </table>
    </div>
  );
}

function keyOf(budget: Budget): string {
  return `${budget.budget}\u0000${budget.scope}`;
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
