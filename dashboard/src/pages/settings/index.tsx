import { Link, useParams } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { may } from "../../lib/boot.ts";
import { EmptyState } from "../../ui/States.tsx";
import { Prices } from "./Prices.tsx";
import { Redaction } from "./Redaction.tsx";
import { Retention } from "./Retention.tsx";
import { System } from "./System.tsx";
import { Upstreams } from "./Upstreams.tsx";
import { Users } from "./Users.tsx";
import "./settings.css";

const SECTIONS = [
  { name: "upstreams", title: "Upstreams", view: Upstreams },
  { name: "prices", title: "Prices", view: Prices },
  { name: "retention", title: "Retention", view: Retention },
  { name: "redaction", title: "Redaction", view: Redaction },
  { name: "users", title: "Users and tokens", view: Users },
  { name: "system", title: "System", view: System },
] as const;

export default function SettingsPage() {
  const { section = "upstreams" } = useParams<{ section?: string }>();
  const shown = SECTIONS.find(({ name }) => name === section);
  const View = shown?.view;
  return (
    <>
      <PageHead title={shown?.title ?? "Settings"} crumbs={[["Settings", "/settings"]]} />
      <div className="settings">
        <nav aria-label="Settings">
          {SECTIONS.filter(({ name }) => name !== "users" || may("admin")).map(({ name, title }) => (
            <Link key={name} href={`/settings/${name}`} aria-current={name === section ? "page" : undefined}>{title}</Link>
          ))}
          <Link href="/settings/appearance">Appearance</Link>
        </nav>
        <div className="st-section-body">{View ? <View /> : <EmptyState title="No such section">There is nothing called {section} in the settings.</EmptyState>}</div>
      </div>
    </>
  );
}
