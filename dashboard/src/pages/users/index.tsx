import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function UsersPage() {
  return (
    <>
      <PageHead title="Users" />
      <EmptyState title="Users">This page is being built.</EmptyState>
    </>
  );
}
