"use strict";

// The HTTP interface: four routes, and a stop that lets no request down.

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");

const BODY_LIMIT = 1_000_000;
const PAGE = fs.readFileSync(path.join(__dirname, "public", "index.html"));

/** An answer that says no: its message is for the caller. */
class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function createServer({ worker, release }) {
  let stopping = false;

  const routes = {
    "GET /": (_, response) => response.setHeader("content-type", "text/html; charset=utf-8").end(PAGE),
    "GET /health": (_, response) => sendJson(response, 200, { ok: true }),
    "GET /version": (_, response) => sendJson(response, 200, { release }),
    "POST /api/describe": async (request, response) => {
      sendJson(response, 200, await worker.call(await readQuestion(request)));
    },
  };

  const server = http.createServer(async (request, response) => {
    // Asked to stop: a connection ends with the answer that is under way on it.
    response.on("close", () => stopping && server.closeIdleConnections());
    try {
      const route = routes[`${request.method} ${request.url.split("?")[0]}`];
      if (!route) throw new HttpError(404, "There is nothing here.");
      await route(request, response);
    } catch (error) {
      if (!error.status) console.error(error);
      const known = error.status ? error : new HttpError(500, "Something went wrong here.");
      sendJson(response, known.status, { error: known.message });
    }
  });

  server.stop = (done) => {
    stopping = true;
    server.close(done);
    server.closeIdleConnections();
  };
  return server;
}

/** What to describe: {"text": …} as JSON, or the body of a file of any other type. */
async function readQuestion(request) {
  const body = await readBody(request);
  const type = (request.headers["content-type"] ?? "").split(";")[0].trim();
  if (type !== "application/json") return { base64: body.toString("base64") };
  let question;
  try {
    question = JSON.parse(body);
  } catch {
    throw new HttpError(400, "The body is not JSON.");
  }
  if (typeof question?.text !== "string") throw new HttpError(400, 'Send {"text": "…"} or a file.');
  return { text: question.text };
}

async function readBody(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_LIMIT) throw new HttpError(413, `More than ${BODY_LIMIT} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function sendJson(response, status, value) {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

module.exports = { createServer, HttpError };
