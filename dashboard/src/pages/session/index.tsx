import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function SessionPage() {
  return (
    <>
      <PageHead title="Session" />
      <EmptyState title="Session">This page is being built.</EmptyState>
    </>
  );
}
