import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function UserPage() {
  return (
    <>
      <PageHead title="User" />
      <EmptyState title="User">This page is being built.</EmptyState>
    </>
  );
}
