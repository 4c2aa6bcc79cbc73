import { Link } from "wouter";
import { EmptyState } from "../ui/States.tsx";
import { PageHead } from "./Layout.tsx";

export function NotFound() {
  return (
    <>
      <PageHead title="No such page" />
      <EmptyState title="No such page" action={<Link className="btn" href="/">Overview</Link>}>
        Nothing is shown at this address. To find a request, session or trace by its id, press Ctrl K and paste it.
      </EmptyState>
    </>
  );
}
