/** Limits: how far they are spent, where that ends, who spends; one of them in full. */
import { lazy, Suspense } from "react";
import { useParams } from "wouter";
import { readSegment } from "../../lib/path.ts";
import { SkeletonRows } from "../../ui/States.tsx";
import { BudgetList } from "./BudgetList.tsx";
import "./budgets.css";

const BudgetDetail = lazy(() => import("./BudgetDetail.tsx"));

export default function BudgetsPage() {
  const { name } = useParams<{ name?: string }>();
  if (!name) return <BudgetList />;
  return (
    <Suspense fallback={<SkeletonRows rows={8} />}>
      <BudgetDetail name={readSegment(name)} />
    </Suspense>
  );
}
