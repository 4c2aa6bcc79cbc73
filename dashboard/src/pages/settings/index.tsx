import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function SettingsPage() {
  return (
    <>
      <PageHead title="Settings" />
      <EmptyState title="Settings">This page is being built.</EmptyState>
    </>
  );
}
