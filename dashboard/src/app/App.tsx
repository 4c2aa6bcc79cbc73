import { QueryClientProvider } from "@tanstack/react-query";
import { lazy, Suspense, useEffect, useState } from "react";
import { Route, Router, Switch, useLocation } from "wouter";
import { boot } from "../lib/boot.ts";
import { useCommands } from "../lib/keys.ts";
import { client } from "../lib/queries.ts";
import { nextTheme, setSettings } from "../lib/settings.ts";
import { SkeletonRows } from "../ui/States.tsx";
import { Toasts } from "../ui/Toast.tsx";
import { PageBoundary } from "./PageBoundary.tsx";
import { Layout, LevelContext } from "./Layout.tsx";
import { NotFound } from "./NotFound.tsx";
import { NAV, PAGES } from "./pages.tsx";
import { useStatus } from "./Recording.tsx";
import { useFavicon } from "./favicon.ts";

const Palette = lazy(() => import("./Palette.tsx"));
const Shortcuts = lazy(() => import("./Shortcuts.tsx"));

export function App() {
  return (
    <QueryClientProvider client={client}>
      <Router base={boot.base}>
        <Frame />
      </Router>
    </QueryClientProvider>
  );
}

function Frame() {
  const [path, navigate] = useLocation();
  const [overlay, setOverlay] = useState<"palette" | "shortcuts" | null>(null);
  const level = useStatus().data?.verdict ?? boot.level;
  useFavicon(level);
  useCommands([
    { keys: "mod+k", title: "Search or jump to", group: "Everywhere", run: () => setOverlay("palette") },
    { keys: "?", title: "Keys", group: "Everywhere", run: () => setOverlay("shortcuts") },
    { keys: "\\", title: "Light, dark or as the system", group: "Everywhere", run: () => setSettings({ theme: nextTheme() }) },
    ...NAV.flatMap(([, links]) => links).map((link) => ({ keys: `g ${link.letter}`, title: link.title, group: "Go to", run: () => navigate(link.path) })),
  ]);
  useEffect(() => setOverlay(null), [path]);

  return (
    <LevelContext value={level}>
      <Layout onPalette={() => setOverlay("palette")}>
        <PageBoundary key={path}>
          <Suspense fallback={<SkeletonRows />}>
            <Switch>
              {PAGES.map(({ path: pattern, view }) => <Route key={pattern} path={pattern} component={view} />)}
              <Route component={NotFound} />
            </Switch>
          </Suspense>
        </PageBoundary>
      </Layout>
      <Suspense>
        {overlay === "palette" && <Palette onClose={() => setOverlay(null)} />}
        {overlay === "shortcuts" && <Shortcuts onClose={() => setOverlay(null)} />}
      </Suspense>
      <Toasts />
    </LevelContext>
  );
}
