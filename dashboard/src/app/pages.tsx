/** Every page: where it is, what it is called, and the code that is fetched for it. */
import { lazy, type ComponentType, type LazyExoticComponent } from "react";
import type { IconName } from "../ui/Icon.tsx";

type Load = () => Promise<{ default: ComponentType }>;

export interface Page {
  /** As the router writes it, without the base path. */
  path: string;
  title: string;
  load: Load;
  view: LazyExoticComponent<ComponentType>;
}

export interface NavLink {
  path: string;
  title: string;
  icon: IconName;
  /** The second key after g. */
  letter: string;
}

function page(path: string, title: string, load: Load): Page {
  return { path, title, load, view: lazy(load) };
}

export const PAGES: readonly Page[] = [
  page("/", "Overview", () => import("../pages/overview/index.tsx")),
  page("/requests", "Requests", () => import("../pages/requests/index.tsx")),
  page("/requests/:id", "Request", () => import("../pages/request/index.tsx")),
  page("/sessions", "Sessions", () => import("../pages/sessions/index.tsx")),
  page("/sessions/:id", "Session", () => import("../pages/session/index.tsx")),
  page("/users", "Users", () => import("../pages/users/index.tsx")),
  page("/users/:id", "User", () => import("../pages/user/index.tsx")),
  page("/cost", "Cost", () => import("../pages/cost/index.tsx")),
  page("/budgets/:name?", "Budgets", () => import("../pages/budgets/index.tsx")),
  page("/playground", "Playground", () => import("../pages/playground/index.tsx")),
  page("/keys/:name?", "Keys", () => import("../pages/keys/index.tsx")),
  page("/settings/appearance", "Appearance", () => import("../pages/appearance/index.tsx")),
  page("/settings/:section?", "Settings", () => import("../pages/settings/index.tsx")),
];

export const NAV: readonly (readonly [group: string, links: readonly NavLink[]])[] = [
  ["", [
    { path: "/", title: "Overview", icon: "home", letter: "o" },
    { path: "/requests", title: "Requests", icon: "list", letter: "r" },
    { path: "/sessions", title: "Sessions", icon: "chat", letter: "s" },
    { path: "/users", title: "Users", icon: "users", letter: "u" },
  ]],
  ["Spend", [
    { path: "/cost", title: "Cost", icon: "cost", letter: "c" },
    { path: "/budgets", title: "Budgets", icon: "gauge", letter: "b" },
  ]],
  ["Improve", [{ path: "/playground", title: "Playground", icon: "play", letter: "p" }]],
  ["Admin", [
    { path: "/keys", title: "Keys", icon: "key", letter: "k" },
    { path: "/settings", title: "Settings", icon: "gear", letter: "," },
  ]],
];

/** Return the page that shows a path. */
export function pageAt(path: string): Page | undefined {
  return PAGES.find((each) => new RegExp(`^${each.path.replace(/\/:\w+\?/, "(?:/[^/]+)?").replace(/:\w+/, "[^/]+")}/?$`).test(path));
}

/** Fetch the code of a page before it is asked for. */
export function prefetch(path: string): void {
  void pageAt(path)?.load();
}
