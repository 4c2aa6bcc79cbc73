import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function SessionsPage() {
  return (
    <>
      <PageHead title="Sessions" />
      <EmptyState title="Sessions">This page is being built.</EmptyState>
    </>
  );
}
