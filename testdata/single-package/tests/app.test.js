"use strict";

const { once } = require("node:events");
const http = require("node:http");

const { createServer } = require("../app");

/** A worker that answers when the test says so. */
function heldWorker() {
  const calls = [];
  return { calls, call: (question) => new Promise((resolve) => calls.push({ question, resolve })) };
}

const echo = { call: async (question) => question };

let server;

async function start(worker = echo) {
  server = createServer({ worker, release: "1.2.3" });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${server.address().port}`;
}

afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const json = { "content-type": "application/json" };

test("the page, the health and the version are served", async () => {
  const url = await start();
  expect(await (await fetch(url)).text()).toContain("<title>Describe a text</title>");
  expect(await (await fetch(`${url}/health`)).json()).toEqual({ ok: true });
  expect(await (await fetch(`${url}/version`)).json()).toEqual({ release: "1.2.3" });
});

test("a text goes to the worker as text, and a file as bytes", async () => {
  const url = `${await start()}/api/describe`;
  const text = await fetch(url, { method: "POST", headers: json, body: '{"text": "hello"}' });
  expect(await text.json()).toEqual({ text: "hello" });
  const file = await fetch(url, { method: "POST", body: new Uint8Array([1, 2, 3]) });
  expect(await file.json()).toEqual({ base64: "AQID" });
});

test.each([
  ["not JSON", 400],
  ['{"txt": "hello"}', 400],
  ["null", 400],
  [JSON.stringify({ text: "x".repeat(1_000_000) }), 413],
])("a wrong question is refused (%#)", async (body, status) => {
  const url = await start();
  const response = await fetch(`${url}/api/describe`, { method: "POST", headers: json, body });
  expect(response.status).toBe(status);
  expect(await response.json()).toEqual({ error: expect.any(String) });
});

test("an unknown path is not there", async () => {
  const url = await start();
  expect((await fetch(`${url}/nowhere`)).status).toBe(404);
});

test("a stop waits for the request under way, then closes its kept connection", async () => {
  const worker = heldWorker();
  const url = new URL(await start(worker));
  const agent = new http.Agent({ keepAlive: true });
  const request = http.request(`${url}api/describe`, { agent, method: "POST", headers: json });
  request.end('{"text": "slow"}');
  while (worker.calls.length === 0) await new Promise(setImmediate);

  const stopped = new Promise((resolve) => server.stop(resolve));
  await expect(fetch(url)).rejects.toThrow();
  worker.calls[0].resolve({ ok: true });

  const [response] = await once(request, "response");
  expect(response.statusCode).toBe(200);
  response.resume();
  await stopped;
  agent.destroy();
});
