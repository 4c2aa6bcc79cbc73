import { Link } from "wouter";
import { moneyNano, percent } from "../../lib/format.ts";
import { pageOf } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { Card, Track } from "../../ui/Card.tsx";
import { Loaded, Skeleton } from "../../ui/States.tsx";
import { byUrgency, levelOf, ownerName, usedShare, windowName, type Budget, type Budgets } from "../budgets/budget.ts";

const SHOWN = 4;

/** The budgets that are nearest to their end. */
export function BudgetsCard() {
  const answer = useRead<Budgets>("/api/budgets", {}, { every: 15_000 });
  const count = answer.data?.budgets.length ?? 0;
  return (
    <Card title="Budgets" end={count > SHOWN && <Link className="link" href="/budgets">All {count}</Link>}>
      <Loaded answer={answer} what="Budgets could not be read" skeleton={<Skeleton height="220px" />}>
        {({ budgets }) =>
          budgets.length ? (
            <div className="budget-list">
              {budgets.toSorted(byUrgency).slice(0, SHOWN).map((budget) => <BudgetLine key={`${budget.budget}/${budget.scope}`} budget={budget} />)}
            </div>
          ) : (
            <p className="muted">
              No budget is set. One of a key or of all traffic, under <code>budgets:</code> in the configuration or with a new{" "}
              <Link className="link" href="/keys">key</Link>, refuses what would pass it.
            </p>
          )
        }
      </Loaded>
    </Card>
  );
}

function BudgetLine({ budget }: { budget: Budget }) {
  const level = levelOf(budget);
  const share = usedShare(budget);
  return (
    <Link className="budget-line" href={pageOf.budget(budget.budget)}>
      <span className="names">
        <span className="ellipsis"><b className="wire">{budget.budget}</b> <span className="caption wire">{budget.scope ? ownerName(budget) : windowName(budget)}</span></span>
        <span className="num nowrap"><b>{moneyNano(budget.spent_nano_usd)}</b> of {moneyNano(budget.limit_nano_usd)}</span>
      </span>
      <Track share={share} level={level} label={`${budget.budget}: used`} {...(budget.pace.elapsed === null ? {} : { mark: budget.pace.elapsed })} />
      <span className="says">
        <span className={level === "ok" ? "" : level}>{budget.pace.text}</span>
        <span>{percent(share, 1)}</span>
      </span>
    </Link>
  );
}
