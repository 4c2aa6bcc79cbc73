import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function RequestsPage() {
  return (
    <>
      <PageHead title="Requests" />
      <EmptyState title="Requests">This page is being built.</EmptyState>
    </>
  );
}
