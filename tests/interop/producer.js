// Submits jobs with insignia_enqueue in transactions of its own: node producer.js URL SCHEMA. Prints one JSON object.
const { Client } = require("pg");

const [, , connectionString, schema] = process.argv;
const call = `SELECT ${schema}.insignia_enqueue(task_type => $1, user_id => $2, payload => $3, key => $4) AS id`;

async function enqueue(client, user, payload, key = null) {
  const { rows } = await client.query(call, ["noop", user, JSON.stringify(payload), key]);
  return rows[0].id;
}

async function main() {
  const client = new Client({ connectionString });
  await client.connect();
  await client.query("BEGIN");
  const committed = await enqueue(client, "สมชาย", { ชื่อ: "ประถมาภรณ์" }, "k");
  await client.query("COMMIT");
  await client.query("BEGIN");
  const rolledBack = await enqueue(client, "สมชาย", {});
  await client.query("ROLLBACK");
  const again = await enqueue(client, "สมชาย", { ชื่อ: "ประถมาภรณ์" }, "k");
  const conflict = await enqueue(client, "สมชาย", { other: 1 }, "k").catch((error) => error.code);
  const invalid = await enqueue(client, "", {}).catch((error) => error.code);
  await client.end();
  console.log(JSON.stringify({ committed, rolledBack, again, conflict, invalid }));
}

main();
