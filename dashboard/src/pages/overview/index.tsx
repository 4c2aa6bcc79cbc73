import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function OverviewPage() {
  return (
    <>
      <PageHead title="Overview" />
      <EmptyState title="Overview">This page is being built.</EmptyState>
    </>
  );
}
