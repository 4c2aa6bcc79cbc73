import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function RequestPage() {
  return (
    <>
      <PageHead title="Request" />
      <EmptyState title="Request">This page is being built.</EmptyState>
    </>
  );
}
