// SPDX-License-Identifier: MIT
// Shows some of /metrics, once a second. Series of one name are summed.
const shown = [
  ["weir_http_requests_total", "requests answered"],
  ["weir_http_requests_in_flight", "requests in flight"],
  ["weir_connections", "connections open"],
  ["weir_connections_opened_total", "connections opened"],
  ["weir_sent_bytes_total", "bytes sent"],
];

function sums(text) {
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? ([0-9.e+-]+)$/.exec(line);
    if (match) {
      found.set(match[1], (found.get(match[1]) || 0) + Number(match[3]));
    }
  }
  return found;
}

async function show() {
  const body = document.querySelector("#figures tbody");
  try {
    const found = sums(await (await fetch("/metrics")).text());
    body.replaceChildren(...shown.filter(([name]) => found.has(name)).map(([name, what]) => {
      const row = document.createElement("tr");
      row.insertCell().textContent = what;
      row.insertCell().textContent = found.get(name).toLocaleString("en");
      return row;
    }));
  } catch (error) {
    body.replaceChildren();
    body.insertRow().insertCell().textContent = `/metrics does not answer: ${error}`;
  }
}

show();
setInterval(show, 1000);
