// A consumer on amqplib that does nothing: `consumer.js URL QUEUE COUNT PREFETCH`.
'use strict';

const amqplib = require('amqplib');

async function main() {
  const [url, queue, count, prefetch] = process.argv.slice(2);
  const connection = await amqplib.connect(url);
  const channel = await connection.createChannel();
  await channel.prefetch(Number(prefetch));
  let seen = 0;
  let first;
  await channel.consume(queue, async (message) => {
    if (seen === 0) {
      first = process.hrtime.bigint();
      console.log('first');
    }
    channel.ack(message);
    seen += 1;
    if (seen === Number(count)) {
      console.log(`last ${process.hrtime.bigint() - first}`);
      await channel.close(); // the acknowledgements go before it
      await connection.close();
    }
  });
}

main();
