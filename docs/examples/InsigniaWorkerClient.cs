// Submits jobs to insignia-worker: one file to copy into a project. Compiles with .NET 6 and newer, and with Mono.
using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

public sealed class InsigniaWorkerClient : IDisposable
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);
    private const int Attempts = 6;
    private readonly HttpClient http;

    public InsigniaWorkerClient(Uri address, string apiKey)
    {
        http = new HttpClient { BaseAddress = address };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", apiKey);
    }

    /// <summary>Submits a job and returns the answer (JSON). The same key again gives the same job, so that a request
    /// whose answer was lost is repeated here without making a second one.</summary>
    public Task<string> EnqueueAsync(string jobJson, string idempotencyKey, CancellationToken stop = default(CancellationToken))
    {
        return SendAsync(() => new HttpRequestMessage(HttpMethod.Post, "/api/v1/jobs")
        {
            Content = new StringContent(jobJson, Encoding.UTF8, "application/json"),
        }, idempotencyKey, stop);
    }

    /// <summary>Submits a job together with files, by the field of the payload that they belong to.</summary>
    public Task<string> UploadAsync(
        string jobJson, IReadOnlyDictionary<string, string> files, string idempotencyKey,
        CancellationToken stop = default(CancellationToken))
    {
        return SendAsync(() =>
        {
            var form = new MultipartFormDataContent { { new StringContent(jobJson, Encoding.UTF8, "application/json"), "job" } };
            foreach (var file in files)
            {
                var content = new StreamContent(File.OpenRead(file.Value));
                form.Add(content, file.Key, Path.GetFileName(file.Value));
            }
            return new HttpRequestMessage(HttpMethod.Post, "/api/v1/jobs/upload") { Content = form };
        }, idempotencyKey, stop);
    }

    /// <summary>Returns a job (JSON). With seconds, waits so long for its end.</summary>
    public Task<string> GetAsync(string jobId, int waitSeconds = 0, CancellationToken stop = default(CancellationToken))
    {
        var path = "/api/v1/jobs/" + Uri.EscapeDataString(jobId) + "?waitSeconds=" + waitSeconds;
        return SendAsync(() => new HttpRequestMessage(HttpMethod.Get, path), null, stop);
    }

    public void Dispose()
    {
        http.Dispose();
    }

    // Repeats what may succeed later: no connection, no answer, 429 and 503. All else is an error of the caller.
    private async Task<string> SendAsync(Func<HttpRequestMessage> create, string idempotencyKey, CancellationToken stop)
    {
        var pause = FirstPause;
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                using (var request = create())
                {
                    if (idempotencyKey != null) request.Headers.Add("Idempotency-Key", idempotencyKey);
                    using (var response = await http.SendAsync(request, stop))
                    {
                        var text = await response.Content.ReadAsStringAsync();
                        if (response.IsSuccessStatusCode) return text;
                        var isTemporary = (int)response.StatusCode == 429 || response.StatusCode == HttpStatusCode.ServiceUnavailable;
                        if (!isTemporary || attempt == Attempts)
                            throw new InvalidOperationException("HTTP " + (int)response.StatusCode + ": " + text);
                    }
                }
            }
            catch (HttpRequestException) when (attempt < Attempts)
            {
            }
            await Task.Delay(pause, stop);
            pause += pause;
        }
    }
}
