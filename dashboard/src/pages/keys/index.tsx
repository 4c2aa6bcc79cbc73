import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function KeysPage() {
  return (
    <>
      <PageHead title="Keys" />
      <EmptyState title="Keys">This page is being built.</EmptyState>
    </>
  );
}
