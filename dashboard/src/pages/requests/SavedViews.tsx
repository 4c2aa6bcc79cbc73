/** Saved views: this page under a name, for oneself or for everybody. */
import { lazy, Suspense, useState } from "react";
import { useLocation } from "wouter";
import { send } from "../../lib/api.ts";
import { may } from "../../lib/boot.ts";
import { forget, useRead } from "../../lib/queries.ts";
import { Menu, type MenuGroup } from "../../ui/Menu.tsx";
import { toast, toastError } from "../../ui/Toast.tsx";

export interface View {
  id: number;
  page: string;
  name: string;
  query: string;
  is_shared: boolean;
  created_by: string;
}

const SaveDialog = lazy(() => import("./SaveViewDialog.tsx"));

/** `query`: the parameters of the page now, without what is only looked at. */
export function SavedViews({ current, query, onView }: { current: string; query: string; onView(view: View): void }) {
  const [path] = useLocation();
  const [isSaving, setSaving] = useState(false);
  const views = useRead<{ views: View[] }>("/api/views", { page: "requests" }).data?.views ?? [];
  const chosen = views.find((view) => String(view.id) === current);
  const mayChange = (view: View) => !view.is_shared || may("editor");
  const item = (view: View) => ({ id: `open-${view.id}`, title: <span className="wire ellipsis">{view.name}</span>, text: view.name });
  const groups: MenuGroup[] = [
    { title: "Yours", items: views.filter((view) => !view.is_shared).map(item) },
    { title: "Everybody's", items: views.filter((view) => view.is_shared).map(item) },
    {
      items: [
        { id: "save", title: "Save this view…" },
        ...(chosen && mayChange(chosen) && chosen.query !== query ? [{ id: "update", title: `Update ${chosen.name}` }] : []),
        ...(chosen && mayChange(chosen) ? [{ id: "remove", title: `Remove ${chosen.name}`, isDanger: true }] : []),
      ],
    },
  ].filter((group) => group.items.length > 0);
  const change = async (method: "PATCH" | "DELETE", view: View) => {
    try {
      await send(method, `/api/views/${view.id}`, method === "PATCH" ? { query } : {});
      toast(method === "PATCH" ? `${view.name} is up to date` : `${view.name} is removed`);
      await forget("/api/views");
    } catch (error) {
      toastError(error);
    }
  };
  const onAction = (id: string) => {
    const view = views.find((each) => `open-${each.id}` === id);
    if (view) onView(view);
    else if (id === "save") setSaving(true);
    else if (chosen) void change(id === "update" ? "PATCH" : "DELETE", chosen);
  };
  return (
    <>
      <Menu label={chosen ? <span className="ellipsis wire view-name">{chosen.name}</span> : "Saved views"} aria-label="Saved views" groups={groups} onAction={onAction} />
      {isSaving && (
        <Suspense>
          <SaveDialog query={query} path={path} onSaved={onView} onClose={() => setSaving(false)} />
        </Suspense>
      )}
    </>
  );
}
