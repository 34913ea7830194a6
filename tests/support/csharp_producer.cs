// Submits jobs with the client of docs/examples, for tests/system/test_csharp_client.py.
using System;
using System.Collections.Generic;
using System.Threading.Tasks;

public static class Producer
{
    // Arguments: address, key, user, roster. Prints the answers, one a line.
    public static int Main(string[] arguments)
    {
        RunAsync(arguments).GetAwaiter().GetResult();
        return 0;
    }

    private static async Task RunAsync(string[] arguments)
    {
        var user = arguments[2];
        using (var client = new InsigniaWorkerClient(new Uri(arguments[0]), arguments[1]))
        {
            var job = "{\"taskType\": \"noop\", \"userId\": \"" + user + "\", \"payload\": {}}";
            Console.WriteLine(await client.EnqueueAsync(job, "order-1"));
            Console.WriteLine(await client.EnqueueAsync(job, "order-1"));
            var upload = "{\"taskType\": \"insignia_background_processing\", \"userId\": \"" + user + "\", \"payload\": {\"round\": 2569}}";
            var files = new Dictionary<string, string> { { "roster", arguments[3] } };
            var accepted = await client.UploadAsync(upload, files, "upload-1");
            Console.WriteLine(accepted);
            Console.WriteLine(await client.UploadAsync(upload, files, "upload-1"));
            var id = accepted.Split(new[] { "\"jobId\":\"" }, StringSplitOptions.None)[1].Split('"')[0];
            Console.WriteLine(await client.GetAsync(id, 60));
            try
            {
                await client.EnqueueAsync("{\"taskType\": \"unknown\", \"userId\": \"" + user + "\", \"payload\": {}}", "order-2");
            }
            catch (InvalidOperationException exc)
            {
                Console.WriteLine("\"" + exc.Message.Substring(0, 8) + "\"");
            }
        }
    }
}
