/**
 * The messages of the hub, generated from its description (/asyncapi.json) by `make docs`.
 * `FromHub` and `ToHub` are those of /ws; `EventsFromHub` and `EventsToHub` the arguments of Socket.IO's events.
 * @module
 */

export interface AcceptedData {
  ok: boolean;
}

/** The answer to an event */
export type Acknowledgement = CommandAccepted | CommandRejected;

/** The token, and the position from which the client resumes. */
export interface AuthData {
  token: string | null;
  epoch?: string | null;
  lastSeq?: number | null;
  signed?: boolean;
}

export interface BroadcastData {
  from: string;
  room?: string;
}

export interface CancelData {
  jobId: string;
}

export interface CancelResultData {
  jobId: string;
  status: string;
}

/** Why the hub is about to close the connection. */
export interface ClosingData {
  code: number;
  reason: string;
}

/** The acknowledgement of a command over Socket.IO, and of a notification (without `type` and `data`). */
export interface CommandAccepted {
  ok: true;
  type?: string;
  data?: unknown;
}

export interface CommandRejected {
  ok: false;
  error: string;
}

/** Nothing. */
export type EmptyData = Record<string, unknown>;

export interface ErrorData {
  code: string;
  message: string;
  original?: string;
  original_message?: string;
}

/** The notification and its position. Without the position if it arrives through a job's room or connection. */
export interface NotificationData {
  success: boolean;
  message: string;
  payload: NotificationPayload;
  userId: string;
  epoch?: string;
  seq?: number;
}

export interface NotificationMessage {
  success: boolean;
  message: string;
  payload: NotificationPayload;
}

/** How the job ended. Publishers may add fields. */
export interface NotificationPayload {
  jobId?: string;
  notificationId?: string;
  taskType?: string;
  status?: string;
  completedAt?: string;
  duration?: number;
  attempt?: number;
  sequence?: number;
  redelivery?: number;
  error?: string;
  errorId?: string;
  stackTrace?: string;
}

/** Whose notification it is; the position for clients that sent `lastSeq`. */
export interface NotificationUser {
  userId: string;
  epoch?: string;
  seq?: number;
}

/** The client's position in its inbox. */
export interface PositionData {
  epoch: string;
  seq: number;
  after: number;
  recovered: boolean;
}

export interface ProgressData {
  jobId: string;
  taskType: string;
  status: string;
  percent: number | null;
  note: string | null;
}

/** A message of a type of the publisher's own. */
export interface PublishData {
  type: string;
  data?: unknown;
  room?: string;
}

/** Everything up to this number has been read. */
export interface ReadData {
  seq: number;
}

export interface RoomData {
  room: string;
}

/** The page has displayed this notification. */
export interface ShownData {
  notificationId: string;
}

/** A notification or progress message that is signed by Standard Webhooks; `body` is the message as text. */
export interface SignedEnvelope {
  id: string;
  timestamp: number;
  signature: string;
  body: string;
}

/** One of the three. */
export interface SubscriptionData {
  type?: string;
  jobId?: string;
  userId?: string;
}

/** A newer token of the same user and scopes. */
export interface TokenData {
  token: string;
}

/** Who the client is. The position is missing on connections for one job, and for clients without an inbox. */
export interface WelcomeData {
  clientId: string;
  userId: string | null;
  epoch?: string;
  seq?: number;
  after?: number;
  recovered?: boolean;
  anonymous?: boolean;
  message?: string;
}

export type FromHub =
  | {
    type: "welcome";
    timestamp: string;
    data: WelcomeData;
  }
  | {
    type: "auth";
    timestamp: string;
    data: AcceptedData;
  }
  | {
    type: "notification";
    timestamp: string;
    data: NotificationData;
  }
  | {
    type: "progress";
    timestamp: string;
    data: ProgressData;
  }
  | {
    type: "heartbeat";
    timestamp: string;
    data: EmptyData;
  }
  | {
    type: "pong";
    timestamp: string;
    data: unknown;
  }
  | {
    type: "echo";
    timestamp: string;
    data: unknown;
  }
  | {
    type: "room-joined";
    timestamp: string;
    data: RoomData;
  }
  | {
    type: "room-left";
    timestamp: string;
    data: RoomData;
  }
  | {
    type: "subscribed";
    timestamp: string;
    data: SubscriptionData;
  }
  | {
    type: "unsubscribed";
    timestamp: string;
    data: SubscriptionData;
  }
  | {
    type: "cancel";
    timestamp: string;
    data: CancelResultData;
  }
  | {
    type: "broadcast";
    timestamp: string;
    data: BroadcastData;
  }
  | {
    type: "error";
    timestamp: string;
    data: ErrorData;
  };

export type ToHub =
  | {
    type: "auth";
    timestamp?: string;
    data?: AuthData;
  }
  | {
    type: "ping";
    timestamp?: string;
    data?: unknown;
  }
  | {
    type: "heartbeat";
    timestamp?: string;
    data?: unknown;
  }
  | {
    type: "echo";
    timestamp?: string;
    data?: unknown;
  }
  | {
    type: "join-room";
    timestamp?: string;
    data?: RoomData | string;
  }
  | {
    type: "leave-room";
    timestamp?: string;
    data?: RoomData | string;
  }
  | {
    type: "subscribe";
    timestamp?: string;
    data?: SubscriptionData | string;
  }
  | {
    type: "unsubscribe";
    timestamp?: string;
    data?: SubscriptionData | string;
  }
  | {
    type: "broadcast";
    timestamp?: string;
    data?: Record<string, unknown>;
  }
  | {
    type: "publish";
    timestamp?: string;
    data?: PublishData;
  }
  | {
    type: "cancel";
    timestamp?: string;
    data?: CancelData;
  }
  | {
    type: "read";
    timestamp?: string;
    data?: ReadData;
  }
  | {
    type: "shown";
    timestamp?: string;
    data?: ShownData;
  };

export interface EventsFromHub {
  "socket-notification": (data: NotificationMessage, user: NotificationUser) => void;
  "broadcast": (data: BroadcastData) => void;
  "org-socket:welcome": (data: PositionData) => void;
  "org-socket:closing": (data: ClosingData) => void;
}

export interface EventsToHub {
  "socket-notification": (data: NotificationMessage, user: NotificationUser, acknowledge?: (answer: Acknowledgement) => void) => void;
  "ping": (data: unknown, acknowledge?: (answer: Acknowledgement) => void) => void;
  "heartbeat": (data: unknown, acknowledge?: (answer: Acknowledgement) => void) => void;
  "echo": (data: unknown, acknowledge?: (answer: Acknowledgement) => void) => void;
  "join-room": (data: RoomData | string, acknowledge?: (answer: Acknowledgement) => void) => void;
  "leave-room": (data: RoomData | string, acknowledge?: (answer: Acknowledgement) => void) => void;
  "subscribe": (data: SubscriptionData | string, acknowledge?: (answer: Acknowledgement) => void) => void;
  "unsubscribe": (data: SubscriptionData | string, acknowledge?: (answer: Acknowledgement) => void) => void;
  "broadcast": (data: Record<string, unknown>, acknowledge?: (answer: Acknowledgement) => void) => void;
  "publish": (data: PublishData, acknowledge?: (answer: Acknowledgement) => void) => void;
  "cancel": (data: CancelData, acknowledge?: (answer: Acknowledgement) => void) => void;
  "org-socket:refresh": (data: TokenData, acknowledge?: (answer: Acknowledgement) => void) => void;
  "org-socket:read": (data: ReadData, acknowledge?: (answer: Acknowledgement) => void) => void;
  "org-socket:shown": (data: ShownData, acknowledge?: (answer: Acknowledgement) => void) => void;
}
