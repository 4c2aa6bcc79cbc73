/** The one time zone in which everything is shown: `tz=` of the address, else what was chosen in this browser. */
import { useSearch } from "wouter";
import { isZone, type Zone } from "./format.ts";
import { useSettings } from "./settings.ts";

/** Return the zone of an address; null: it names none that exists. */
export function zoneOf(search: string): Zone | null {
  const named = new URLSearchParams(search).get("tz");
  if (!named) return null;
  if (named.toLowerCase() === "utc") return "UTC";
  if (named === "local") return "";
  return isZone(named) ? named : null;
}

export function useZone(): Zone {
  const search = useSearch();
  const { zone } = useSettings();
  return zoneOf(search) ?? zone;
}

/** What a zone is called. */
export function zoneName(zone: Zone): string {
  return zone === "" ? `Local (${Intl.DateTimeFormat().resolvedOptions().timeZone})` : zone;
}
