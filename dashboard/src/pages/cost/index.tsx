import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function CostPage() {
  return (
    <>
      <PageHead title="Cost" />
      <EmptyState title="Cost">This page is being built.</EmptyState>
    </>
  );
}
