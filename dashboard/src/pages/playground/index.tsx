import { PageHead } from "../../app/Layout.tsx";
import { EmptyState } from "../../ui/States.tsx";

export default function PlaygroundPage() {
  return (
    <>
      <PageHead title="Playground" />
      <EmptyState title="Playground">This page is being built.</EmptyState>
    </>
  );
}
