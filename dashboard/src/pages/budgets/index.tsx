import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function BudgetsPage() {
  return (
    <>
      <PageHead title="Budgets" />
      <EmptyState title="Budgets">This page is being built.</EmptyState>
    </>
  );
}
