import type { Metadata } from "./metadata";

export type Kind = "image" | "audio" | "video" | "document" | "other";

/** One line of the list of recent extractions. */
export interface Summary {
  id: number;
  file_name: string;
  sha256: string;
  size_bytes: number;
  mime_type: string;
  /** Missing while the backend before this release still answers. */
  kind?: Kind;
  created_at: string;
}

export interface Extraction extends Summary {
  metadata: Metadata;
}

/** An answer that says no. Its message is meant for the person at the screen. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

export async function uploadFile(file: File): Promise<Extraction> {
  const body = new FormData();
  body.append("file", file);
  return request<Extraction>("/api/extractions", { method: "POST", body });
}

export async function listRecent(limit = 20): Promise<Summary[]> {
  return request<Summary[]>(`/api/extractions?limit=${limit}`);
}

export async function getExtraction(id: number): Promise<Extraction> {
  return request<Extraction>(`/api/extractions/${id}`);
}

async function request<T>(path: string, init?: RequestInit): Promise<T> {
  const response = await fetch(path, init);
  if (!response.ok) throw new ApiError(response.status, await reason(response));
  return (await response.json()) as T;
}

async function reason(response: Response): Promise<string> {
  try {
    const { detail } = (await response.json()) as { detail?: unknown };
    if (typeof detail === "string") return detail;
  } catch {
    // Not JSON: a proxy answered, not the backend.
  }
  return `The server answered ${response.status}.`;
}
