import { Link } from "wouter";
import { short } from "../../lib/format.ts";
import { useRead } from "../../lib/queries.ts";
import { Card } from "../../ui/Card.tsx";
import { Loaded, Skeleton } from "../../ui/States.tsx";
import type { Budgets } from "../budgets/budget.ts";
import { BudgetLine } from "../budgets/BudgetLine.tsx";

const SHOWN = 4;

/** The budgets that are nearest to their end. */
export function BudgetsCard() {
  const answer = useRead<Budgets>("/api/budgets", { limit: SHOWN }, { every: 15_000 });
  const count = answer.data?.count ?? 0;
  return (
    <Card title="Budgets" end={count > SHOWN && <Link className="link" href="/budgets">All {short(count)}</Link>}>
      <Loaded answer={answer} what="Budgets could not be read" skeleton={<Skeleton height="220px" />}>
        {({ budgets }) =>
          budgets.length ? (
            <div className="budget-list">
              {budgets.map((budget) => <BudgetLine key={`${budget.budget}/${budget.scope}`} budget={budget} />)}
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
